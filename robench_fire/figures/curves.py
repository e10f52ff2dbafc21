"""curves: what every seed's training went through, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from robench_fire.errors import DataError
from robench_fire.figures.source import Plan
from robench_fire.figures.style import COLOURS, INK, LINES, PARETO, Drawn, figure, plain, styled
from robench_fire.runs.folders import Run
from robench_fire.statistics.curves import FALLEN, falls

MOST = 4  # plans in one figure
ACCURACIES = {"clean": "clean", "robust": "PGD", "one_step": "one step"}


class Curve(NamedTuple):
    """A seed's epochs. ``planned``: how many there are to be. ``falls``: epochs after which PGD broke far more."""

    seed: int
    rows: Sequence[dict[str, float]]
    planned: int
    falls: Sequence[int]


@styled
def curves(plans: Sequence[Plan]) -> Drawn:
    """Loss and its terms, accuracy on validation images, and learning rate; a column per plan.

    Raises:
        DataError: if no epoch of any seed is finished, or a curve cannot be read.
    """
    found = [(plan, its) for plan in plans if (its := [curve for run in plan.runs if (curve := _read(run))])]
    if not found:
        raise DataError("no epoch of these runs is finished; the same `robench train` command continues them")
    made, panels = figure((max(4.6, 1.0 + 2.1 * len(found)), 5.6), (3, len(found)), sharex="col", sharey="row",
                          squeeze=False, height_ratios=(2, 2, 1))  # fmt: skip
    for (plan, its), column in zip(found, panels.T, strict=True):
        _losses(column[0], its)
        _accuracies(column[1], its)
        _lines(column[2], its, "lr", INK, "-")
        column[0].set_title(plain(plan.name, 24))
        column[2].set_xlabel("epoch")
    for axes, said in zip(panels[:, 0], ("loss", "validation, %", "learning rate"), strict=True):
        axes.set_ylabel(said)
    _legends(panels, found)
    data = [
        {"method": plan.name, "seed": curve.seed, **row, "catastrophic": int(row["epoch"] in curve.falls)}
        for plan, its in found for curve in its for row in curve.rows
    ]  # fmt: skip
    return Drawn(made, data, " ".join(_says(plan, its) for plan, its in found))


def _read(run: Run) -> Curve | None:
    path, rows = run.folder / "curve.jsonl", run.curve()
    try:
        rows = [{**row, "epoch": int(row["epoch"])} for row in rows]
    except (KeyError, TypeError) as fault:
        raise DataError(f"{path} is no curve ({type(fault).__name__}: {fault}); move it away and train again") from None
    return Curve(run.seed, rows, int(run.read("plan.json")["recipe"]["epochs"]), falls(rows)) if rows else None


def _losses(axes: Any, its: Sequence[Curve]) -> None:
    _lines(axes, its, "loss", INK, LINES[0])
    for number, term in enumerate(_terms(its)):
        _lines(axes, its, term, COLOURS[number % 6], LINES[1 + number % 6])


def _terms(its: Iterable[Curve]) -> list[str]:
    """The parts of the loss, where there are several."""
    names = list(dict.fromkeys(name for curve in its for row in curve.rows for name in row if name.startswith("loss_")))
    return names if len(names) > 1 else []


def _measured(its: Iterable[Curve]) -> list[str]:
    """The accuracies that there are: under one step, of trainings that take one."""
    there = {name for curve in its for row in curve.rows for name in row}
    return [name for name in ACCURACIES if name in there or name != "one_step"]


def _accuracies(axes: Any, its: Sequence[Curve]) -> None:
    for number, name in enumerate(_measured(its)):
        _lines(axes, its, name, COLOURS[number], LINES[number])
    for curve in its:
        at = {row["epoch"]: row.get("robust", math.nan) for row in curve.rows}
        axes.plot(curve.falls, [at[epoch] for epoch in curve.falls], "X", color=PARETO, markersize=6)
        if len(curve.rows) < curve.planned:
            last = curve.rows[-1]
            axes.plot(last["epoch"], last.get("robust", last.get("clean", math.nan)), "o", color=PARETO, markersize=6,
                      markerfacecolor="none")  # fmt: skip


def _lines(axes: Any, its: Sequence[Curve], name: str, colour: str, line: Any) -> None:
    """A thin line per seed, and their mean over the epochs that all of them have."""
    for curve in its:
        axes.plot([row["epoch"] for row in curve.rows], [row.get(name, math.nan) for row in curve.rows], color=colour,
                  linewidth=0.7, alpha=0.45)  # fmt: skip
    together = list(zip(*([row.get(name, math.nan) for row in curve.rows] for curve in its), strict=False))
    epochs = [row["epoch"] for row in min((curve.rows for curve in its), key=len)]
    axes.plot(epochs, [fmean(each) for each in together], color=colour, linestyle=line)


def _legends(panels: Any, found: Sequence[tuple[Plan, Sequence[Curve]]]) -> None:
    """What the lines are: of the losses in each column, of the accuracies once."""
    from matplotlib.lines import Line2D

    for (_, its), axes in zip(found, panels[0], strict=True):
        terms = _terms(its)
        lines = [Line2D([], [], color=INK), *(Line2D([], [], color=COLOURS[n % 6], linestyle=LINES[1 + n % 6])
                 for n in range(len(terms)))]  # fmt: skip
        axes.legend(lines, ["loss", *(plain(name.removeprefix("loss_"), 20) for name in terms)], loc="upper right")
    curves_ = [curve for _, its in found for curve in its]
    names = [ACCURACIES[name] for name in _measured(curves_)]
    lines = [Line2D([], [], color=COLOURS[n], linestyle=LINES[n]) for n in range(len(names))]
    if any(curve.falls for curve in curves_):
        lines.append(Line2D([], [], color=PARETO, marker="X", linestyle="none"))
        names.append("catastrophic")
    if any(len(curve.rows) < curve.planned for curve in curves_):
        lines.append(Line2D([], [], color=PARETO, marker="o", markerfacecolor="none", linestyle="none"))
        names.append("stops here")
    panels[1, 0].legend(lines, names, loc="lower right")


def _says(plan: Plan, its: Sequence[Curve]) -> str:
    lasts = [curve.rows[-1] for curve in its]
    known = [f"{said} {fmean(values):.1f} %" for name, said in ACCURACIES.items()
             if (values := [row[name] for row in lasts if math.isfinite(row.get(name, math.nan))])]  # fmt: skip
    text = f"{plan.name}, {len(its)} seed{'s' * (len(its) > 1)}: at the end {' and '.join(known) or 'not validated'}"
    fallen = [f"seed {curve.seed} in epoch {', '.join(map(str, curve.falls))}" for curve in its if curve.falls]
    fell = f"; a fall of more than {FALLEN:g} points and a half under PGD: {'; '.join(fallen)}" if fallen else ""
    short = [f"seed {c.seed} after {len(c.rows)} of {c.planned} epochs" for c in its if len(c.rows) < c.planned]
    return f"{text}{fell}{'; stops: ' * bool(short)}{', '.join(short)}."
