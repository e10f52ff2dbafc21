"""radius: what attacks leave as their radius grows, where masked gradients show."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from robench_fire.boards.rows import collect
from robench_fire.comparison.interval import interval
from robench_fire.errors import DataError, UsageError
from robench_fire.figures.source import Plan
from robench_fire.figures.style import GREY, LINES, Drawn, figure, look, plain, styled
from robench_fire.quantity import Quantity
from robench_fire.runs.evaluations import ATTACK_NAMES
from robench_fire.statistics.summary import mean_std

MOST = 7  # plans in one figure
ATTACKS = ("aa", "pgd20")
CLEAR = 5.0  # points by which PGD-20 must leave more than AutoAttack, or accuracy rise, to be said


class Point(NamedTuple):
    """Accuracy at a radius, over the seeds; ``low`` and ``high``: its interval, where it is known."""

    eps: str
    mean: float
    values: Sequence[tuple[int, float]]
    low: float | None = None
    high: float | None = None


Lines = dict[str, list[Point]]
"""By attack, points by radius, the first at 0: clean accuracy."""


@styled
def radius(plans: Sequence[Plan]) -> Drawn:
    """Robust accuracy over the radius: AutoAttack's, and PGD-20's which is weaker.

    Raises:
        DataError: if no plan was attacked at several radii.
        UsageError: if they are of several data sets or norms.
    """
    kinds = {f"{plan.row.dataset} {plan.row.norm}": None for plan in plans}
    if len(kinds) > 1:
        raise UsageError(f"a figure is of one data set and norm, and here are {', '.join(kinds)}; name a folder")
    every = [(plan, _lines(plan)) for plan in plans]
    found = [(plan, lines) for plan, lines in every if any(len(points) > 2 for points in lines.values())]
    if not found:
        folder, radii = plans[0].runs[0].folder.parent, _radii(plans[0].row.eps)
        raise DataError(f"attack at several radii first: `robench eval {folder} --eps {radii}`")
    made, axes = figure((4.6, 4.4))
    for number, (plan, lines) in enumerate(found):
        for attack, points in lines.items():
            _draw(axes, number, attack, points)
        axes.plot([], [], **look(number), markersize=4.5, label=plain(plan.name, 30))
    claim = float(Quantity(found[0][0].row.eps))
    axes.axvline(claim, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel=f"{found[0][0].row.norm} radius; dotted: the claimed one", ylabel="robust accuracy, %",
             ylim=(-2, 102), title="solid: AutoAttack, dashed: PGD-20")  # fmt: skip
    axes.set_xlim(left=0)
    axes.legend(loc="upper right")
    data = [
        {"method": plan.name, "attack": ATTACK_NAMES[attack], "eps": float(Quantity(p.eps)), "seed": seed,
         "percent": value}
        | ({"low": p.low, "high": p.high} if seed == "mean" and p.low is not None else {})
        for plan, lines in found for attack, points in lines.items() for p in points
        for seed, value in [("mean", p.mean), *p.values]
    ]  # fmt: skip
    return Drawn(made, data, _says(found))


def _radii(eps: str) -> str:
    """A half, one and two of the radius that is claimed."""
    own = Quantity(eps)
    return ",".join(str(own.times(factor)) for factor in (Fraction(1, 2), Fraction(1), Fraction(2)))


def _lines(plan: Plan) -> Lines:
    """Of every radius that the seeds were attacked at, in one setting each."""
    radii = {float(Quantity(each["eps"])): each["eps"] for run in plan.runs for each in run.evaluations()
             if each["attack"] in ATTACKS and each["norm"] == plan.row.norm}  # fmt: skip
    folder = plan.runs[0].folder if len(plan.runs) == 1 else plan.runs[0].folder.parent
    found: Lines = {attack: [] for attack in ATTACKS}
    for eps in [radii[value] for value in sorted(radii)]:
        for row in collect(folder, eps):
            clean = [(seed, each["clean"]) for seed, each in sorted(row.per_seed.items())]
            robust = [(seed, each["robust"]) for seed, each in sorted(row.per_seed.items())]
            quick = sorted(row.pgd20.items()) or (robust if row.attack == "pgd20" else [])
            ends = interval(row, "robust") if row.attack == "aa" else None
            for attack, values in (("aa", robust if row.attack == "aa" else []), ("pgd20", quick)):
                if values:
                    found[attack] = found[attack] or [_point("0", clean)]
                    found[attack].append(_point(eps, values, ends if attack == "aa" else None))
    return {attack: points for attack, points in found.items() if points}


def _point(eps: str, values: Sequence[tuple[int, float]], ends: Any = None) -> Point:
    mean = mean_std([value for _, value in values]).mean
    return Point(eps, mean, values, *((ends.low, ends.high) if ends else ()))


def _draw(axes: Any, number: int, attack: str, points: Sequence[Point]) -> None:
    """A line; AutoAttack's with its intervals, markers and seeds."""
    style, strong = look(number), attack == "aa"
    x = [float(Quantity(p.eps)) for p in points]
    known = [(at, p) for at, p in zip(x, points, strict=True) if p.low is not None]
    axes.fill_between([at for at, _ in known], [p.low for _, p in known], [p.high for _, p in known],
                      color=style["color"], alpha=0.12, linewidth=0)  # fmt: skip
    for at, p in zip(x, points, strict=True):
        if strong:
            axes.plot([at] * len(p.values), [value for _, value in p.values], ".", color=style["color"], markersize=2.5,
                      alpha=0.6)  # fmt: skip
    axes.plot(x, [p.mean for p in points], color=style["color"], linestyle=LINES[0 if strong else 1],
              linewidth=1.6 if strong else 1.0, marker=style["marker"], markersize=4.5 if strong else 3.5,
              markerfacecolor=style["color"] if strong else "none")  # fmt: skip


def _says(found: Sequence[tuple[Plan, Lines]]) -> str:
    """How little is left at the end, how far PGD-20 is off, and where accuracy rises with the radius."""
    lasts = [(lines.get("aa", lines.get("pgd20", []))[-1], plan.name) for plan, lines in found]
    most = max(lasts, key=lambda each: each[0].mean)
    text = f"Of the methods at their largest radius, most is left of {most[1]}: {most[0].mean:.1f} % at {most[0].eps}."
    text = text if most[0].mean else f"At the largest radius, {most[0].eps}, nothing is left."
    gaps = [
        (its.mean - own.mean, plan.name, own.eps) for plan, lines in found for own in lines.get("aa", [])
        for its in lines.get("pgd20", []) if its.eps == own.eps
    ]  # fmt: skip
    if gaps:
        gap, name, eps = max(gaps, key=lambda each: each[0])
        text += f" PGD-20 leaves up to {gap:.1f} points more than AutoAttack ({name} at {eps})."
    rising = [
        f"{plan.name} ({ATTACK_NAMES[attack]}, {one.eps} to {other.eps})" for plan, lines in found
        for attack, points in lines.items() for one, other in pairwise(points)
        if other.mean > one.mean + CLEAR
    ]  # fmt: skip
    sign = f"rises with the radius, as it cannot unless an attack fails: {'; '.join(rising)}"
    return text + (f" Accuracy {sign}." if rising else " Accuracy nowhere rises with the radius.")
