"""sweep: both accuracies over the one coefficient in which rows of a method differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.comparison.interval import Interval, interval
from robench_fire.errors import DataError, UsageError
from robench_fire.figures.source import setting
from robench_fire.figures.style import LINES, Drawn, figure, look, plain, styled
from robench_fire.problem.settings import leaves
from robench_fire.tables.entries import Entry

ANGLES = {"half-angle": 1.0, "geodesic": 4.0}
"""What the square of each distance is, in squares of the half angle."""
HALF_ANGLE = "coefficient of θ², θ half the Fisher-Rao distance"


class Series(NamedTuple):
    """Rows of a method, by the value of what differs; ``path``: what that is."""

    method: str
    path: str
    rows: Sequence[tuple[float, Row]]


@styled
def sweep(entries: Sequence[Entry]) -> Drawn:
    """A line per method for clean accuracy, and for AutoAttack's.

    Raises:
        DataError: if the rows of no method differ in a number.
        UsageError: if those of one differ in several settings.
    """
    found = _series([each.row for each in entries if each.row])
    made, panels = figure((4.6, 5.4), (2, 1), sharex=True)
    data: list[dict[str, Any]] = []
    for axes, metric, said in zip(panels, ("clean", "robust"), ("clean", "AutoAttack"), strict=True):
        for number, one in enumerate(found):
            data += _line(axes, number, one, metric)
        axes.set_ylabel(f"{said} accuracy, %")
    panels[0].set_title(plain(setting(entries), 70))
    paths = list(dict.fromkeys(one.path for one in found))
    panels[1].set_xlabel(plain(" or ".join(paths), 60))
    values = [x for one in found for x, _ in one.rows]
    if min(values) > 0 and max(values) / min(values) > 5:
        _log(panels[1], sorted(set(values)))
    if len(found) > 1:
        panels[0].legend(loc="best")
    return Drawn(made, data, " ".join(map(_says, found)))


def _series(rows: Sequence[Row]) -> list[Series]:
    methods: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        methods[str(row.plan["name"])].append(row)
    found = [one for its in methods.values() if len(its) > 1 and (one := _one(its))]
    if not found:
        name, dataset = rows[0].plan["name"], rows[0].dataset
        raise DataError(
            "no method here has rows that differ in one number; train some for each VALUE of one of `robench show`: "
            f"`robench train {name} {dataset} --set defense.NAME=VALUE`"
        )
    return found


def _one(rows: Sequence[Row]) -> Series | None:
    """The rows of a method by what differs; None where that is no number."""
    plans = [dict(leaves(row.plan)) for row in rows]
    names = [path for path in dict.fromkeys(path for plan in plans for path in plan)
             if len({str(plan.get(path)) for plan in plans}) > 1]  # fmt: skip
    scale = {row.fingerprint: 1.0 for row in rows}
    path = names[0] if names else ""
    if "defense.distance" in names and {str(plan["defense.distance"]) for plan in plans} <= set(ANGLES):
        names.remove("defense.distance")
        scale = {row.fingerprint: ANGLES[row.plan["defense"]["distance"]] for row in rows}
        names, path = names or ["defense.lam"], HALF_ANGLE
    if len(names) > 1:
        raise UsageError(
            f"rows of {rows[0].paper['method']} differ in {' and '.join(names)}, and a sweep is over one; "
            "choose with --where PATH=VALUE"
        )
    values = [plan.get(names[0]) if names else None for plan in plans]
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return None
    at = [
        (float(value) * scale[row.fingerprint], row)
        for value, row in zip(values, rows, strict=True)
        if value is not None
    ]
    return Series(
        rows[0].paper["method"], path if path == HALF_ANGLE else names[0], sorted(at, key=lambda each: each[0])
    )


def _line(axes: Any, number: int, one: Series, metric: Any) -> list[dict[str, Any]]:
    """A method's means with their intervals, and its seeds as dots."""
    style, data = look(number), []
    for x, row in one.rows:
        seeds = [(seed, each[metric]) for seed, each in sorted(row.per_seed.items())]
        axes.plot([x] * len(seeds), [value for _, value in seeds], ".", color=style["color"], markersize=3, alpha=0.5)
        found = interval(row, metric)
        mean = row.over_seeds(metric).mean
        about = {"method": one.method, "row": row.name, "setting": one.path, "value": x, "accuracy": metric}
        data.append({**about, "kind": "mean", "seed": "", "percent": mean, **_ends(found)})
        data += [{**about, "kind": "seed", "seed": seed, "percent": value} for seed, value in seeds]
        if found:
            axes.plot([x, x], [found.low, found.high], color=style["color"], linewidth=0.9, alpha=0.6)
    means = [row.over_seeds(metric).mean for _, row in one.rows]
    axes.plot([x for x, _ in one.rows], means, **style, linestyle=LINES[number % 7], markersize=5,
              label=plain(one.method))  # fmt: skip
    return data


def _ends(found: Interval | None) -> dict[str, Any]:
    return {"low": found.low, "high": found.high} if found else {"low": "", "high": ""}


def _log(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic axis with marks at the values themselves, or at some of them."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    shown = values[:: -(-len(values) // 8)]
    axes.set_xticks(shown, [f"{value:g}" for value in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def _says(one: Series) -> str:
    (first, low), (last, high) = one.rows[0], one.rows[-1]
    found = [(low.over_seeds(name).mean, high.over_seeds(name).mean) for name in ("clean", "robust")]
    top, row = max(one.rows, key=lambda each: (each[1].over_seeds("robust").mean, -each[0]))
    return (
        f"{one.method}: from {first:g} to {last:g}, clean accuracy goes from {found[0][0]:.1f} to {found[0][1]:.1f} % "
        f"and AutoAttack's from {found[1][0]:.1f} to {found[1][1]:.1f} %; the most robust mean, "
        f"{row.over_seeds('robust').mean:.1f} %, is at {top:g}."
    )
