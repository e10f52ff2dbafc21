"""tradeoff and cost: a point per method, a dot per seed, intervals, and what nothing else beats."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from robench_fire.comparison.interval import Interval, interval
from robench_fire.errors import DataError
from robench_fire.figures.labels import write_beside
from robench_fire.figures.source import setting
from robench_fire.figures.style import GREY, PARETO, Drawn, figure, look, plain, styled
from robench_fire.runs.folders import SEEDS
from robench_fire.tables.cost_columns import device_seconds, device_time
from robench_fire.tables.entries import Entry
from robench_fire.tables.marks import beats, doubtful

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 10  # points that can have their names beside them; more are numbered
LABELLED = 4  # published entries with a name
TIMES = [each * unit for unit, counts in ((1e-3, (1, 10, 100)), (1, (1, 2, 3, 5, 10, 15, 20, 30)),
         (60, (1, 2, 3, 5, 10, 15, 20, 30)), (3600, (1, 2, 3, 5, 10, 24, 48, 100, 200, 500, 1000, 10000)))
         for each in counts]  # fmt: skip
"""Seconds that an axis may have marks at."""


class Point(NamedTuple):
    """A method: its mean, its seeds, and the intervals of both values where they are known."""

    name: str
    x: float
    y: float
    numbers: Sequence[int]
    seeds: Sequence[tuple[float, float]]
    across: Interval | None
    up: Interval | None
    doubtful: bool


@styled
def tradeoff(entries: Sequence[Entry], published: Sequence[Entry] = ()) -> Drawn:
    """Clean accuracy against AutoAttack's; ``published`` in grey."""
    points = [_accuracies(each) for each in entries]
    low = _edge(points)
    best = _front(points, 1)
    made, axes = figure(_size(points))
    known = [(each.clean.mean, each.robust.mean) for each in published if each.robust]
    if known:
        axes.plot(*zip(*known, strict=True), "d", color=GREY, markersize=4, alpha=0.7, label="published", zorder=1)
    axes.plot([p.x for p in best], [p.y for p in best], color=PARETO, linewidth=1.2, drawstyle="steps-pre",
              label="Pareto front", zorder=1)  # fmt: skip
    axes.set(xlabel="clean accuracy, %", ylabel="AutoAttack accuracy, %", title=plain(setting(entries), 70))
    _scatter(made, axes, points, low, [robust for _, robust in known])
    _name_published(made, axes, published, points)
    data = [_row(p, "clean", "robust") | {"pareto": int(p in best)} for p in points]
    data += [{"method": each.method, "kind": "published", "clean": c, "robust": r}
             for each, (c, r) in zip([e for e in published if e.robust], known, strict=True)]  # fmt: skip
    data += _seed_rows(points, "clean", "robust")
    named = ", ".join(f"{p.name} ({p.x:.1f} / {p.y:.1f})" for p in best)
    said = f"On the Pareto front of {_count(points)} (clean / AutoAttack accuracy, %): {named}."
    return Drawn(made, data, said + _doubts(points, entries) + _left_out(points, low))


@styled
def cost(entries: Sequence[Entry]) -> Drawn:
    """AutoAttack accuracy against what a seed's training took, in time of a device."""
    timed = [(each, device_seconds(each.row)) for each in entries if each.row]
    kinds = {kind for _, (kind, _) in timed}
    if len(kinds) != 1 or "" in kinds:  # then wall time is all that compares
        timed = [(each, ("", {k: v["train_seconds"] for k, v in each.row.per_seed.items()}))
                 for each, _ in timed if each.row]  # fmt: skip
    points = [p for each, (_, seconds) in timed if (p := _costs(each, seconds))]
    if not points:
        raise DataError("no row here says how long its training took; only rows of ours do")
    kind = next(kind for _, (kind, _) in timed)
    low, best = _edge(points), _front(points, -1)
    made, axes = figure(_size(points))
    axes.plot([p.x for p in best], [p.y for p in best], color=PARETO, linewidth=1.2, drawstyle="steps-post",
              label="Pareto front", zorder=1)  # fmt: skip
    unit = {"GPU": "GPU time of a training", "CPU": "core time of a training", "": "wall time of a training"}[kind]
    axes.set(xscale="log", xlabel=f"{unit} (log)", ylabel="AutoAttack accuracy, %", title=plain(setting(entries), 70))
    _time_ticks(axes, [x for p in points for x, _ in p.seeds])
    _scatter(made, axes, points, low)
    data = [_row(p, "seconds", "robust") | {"device_kind": kind, "pareto": int(p in best)} for p in points]
    data += _seed_rows(points, "seconds", "robust")
    named = ", ".join(f"{p.name} ({device_time(p.x)}, {p.y:.1f} %)" for p in best)
    said = f"On the Pareto front of {_count(points)} ({unit.partition(' of')[0]}, AutoAttack accuracy): {named}."
    return Drawn(made, data, said + _doubts(points, entries) + _left_out(points, low))


def _accuracies(entry: Entry) -> Point:
    assert entry.robust is not None
    row = entry.row
    seeds = [(v["clean"], v["robust"]) for _, v in sorted(row.per_seed.items())] if row else []
    across, up = (interval(row, "clean"), interval(row, "robust")) if row else (None, None)
    numbers = sorted(row.per_seed) if row else []
    return Point(entry.method, entry.clean.mean, entry.robust.mean, numbers, seeds, across, up, doubtful(entry))


def _costs(entry: Entry, seconds: dict[int, float]) -> Point | None:
    if entry.row is None or entry.robust is None or not seconds or min(seconds.values()) <= 0:
        return None
    seeds = [(seconds[k], v["robust"]) for k, v in sorted(entry.row.per_seed.items())]
    mean = sum(x for x, _ in seeds) / len(seeds)
    return Point(
        entry.method,
        mean,
        entry.robust.mean,
        sorted(entry.row.per_seed),
        seeds,
        None,
        interval(entry.row, "robust"),
        doubtful(entry),
    )


def _front(points: Sequence[Point], sign: int) -> list[Point]:
    """By x, the points that no other is as good as in both; ``sign``: -1 where less of x is better."""
    places = [(sign * p.x, p.y) for p in points]
    front = (p for p, own in zip(points, places, strict=True) if not any(beats(each, own) for each in places))
    return sorted(front, key=lambda p: (p.x, p.y))


def _edge(points: Sequence[Point]) -> float:
    """Robust accuracy below which a point would squeeze all others together, and stands at the edge.

    A third of the median, or three times the middle half's range below that half, and at least 6 points; but not what
    the axis of the others shows anyway.
    """
    first, _, third = quantiles([p.y for p in points], n=4, method="inclusive") if len(points) > 1 else [0.0] * 3
    low = max(median(p.y for p in points) / 3, first - 3 * max(third - first, 2.0))
    return min(low, _floor(_heights(points, low), outside=True))


def _heights(points: Sequence[Point], low: float) -> list[float]:
    """Of everything that is drawn of the points that are not below ``low``."""
    shown = [p for p in points if p.y >= low]
    return [y for p in shown for y in (p.y, *(seed[1] for seed in p.seeds), *(p.up[1:3] if p.up else ()))]


def _floor(heights: Sequence[float], outside: bool) -> float:
    """Where the axis ends, with room for points at its edge."""
    return min(heights) - (0.16 if outside else 0.06) * max(max(heights) - min(heights), 1.0)


def _size(points: Sequence[Point]) -> tuple[float, float]:
    rows = 0 if len(points) <= NAMED else -(-(len(points) + 3) // 2)
    return 4.6, 4.2 + 0.17 * rows


def _scatter(made: Figure, axes: Any, points: Sequence[Point], low: float, beside: Sequence[float] = ()) -> None:
    """The points with their seeds, intervals and names; those below ``low`` at the lower edge.

    ``beside``: heights of what else is to be seen.
    """
    numbered, shown = len(points) > NAMED, [p for p in points if p.y >= low]
    heights = [*_heights(points, low), *(y for y in beside if y >= low)]
    span = max(max(heights) - min(heights), 1.0)
    outside = any(p.y < low for p in points)
    axes.set_ylim(floor := _floor(heights, outside), max(heights) + 0.08 * span)
    axes.locator_params(axis="y", nbins=8, steps=[1, 2, 5, 10])
    at = []
    for number, p in enumerate(points):
        style, y = look(number), p.y if p.y >= low else floor + 0.05 * span
        face = "none" if p.doubtful else style["color"]
        if p.y >= low:
            bars = {"xerr": _reach(p.x, p.across), "yerr": _reach(p.y, p.up)}
            axes.errorbar(p.x, y, **bars, fmt="none", ecolor=style["color"], elinewidth=0.8, zorder=2,
                          alpha=0.25 if numbered else 0.5)  # fmt: skip
            axes.scatter(*zip(*p.seeds, strict=True) if p.seeds else ((), ()), s=5, color=style["color"], alpha=0.5,
                         linewidths=0, zorder=2)  # fmt: skip
        label = f"{number + 1}  {plain(p.name, 30)}" if numbered else "_"
        axes.plot(p.x, y, linestyle="none", **style, markerfacecolor=face, markersize=5.5, label=label, zorder=3)
        at.append((p.x, y))
    _legend(made, axes, points, numbered)
    names = [str(n + 1) if numbered else p.name for n, p in enumerate(points)]
    names = [name if p.y >= low else f"{name} ↓ {p.y:.1f} %" for name, p in zip(names, points, strict=True)]
    write_beside(made, axes, at, names, others=[seed for p in shown for seed in p.seeds] if not numbered else ())


def _reach(value: float, found: Interval | None) -> Any:
    return [[max(value - found.low, 0)], [max(found.high - value, 0)]] if found else None


def _legend(made: Figure, axes: Any, points: Sequence[Point], numbered: bool) -> None:
    """Below; what the marks mean, and by number the names."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    marks = [Line2D([], [], linestyle="none", marker="o", markersize=2.5, alpha=0.6, color=GREY)]
    texts = ["a seed; bars: 95 % intervals"]
    if any(p.doubtful for p in points):
        marks.append(Line2D([], [], linestyle="none", marker="o", markerfacecolor="none", color=GREY))
        texts.append("AutoAttack unreliable")
    made.legend([*handles, *marks], [*labels, *texts], loc="outside lower center", ncols=2, columnspacing=1.0,
                labelspacing=0.25, handletextpad=0.4)  # fmt: skip


def _name_published(made: Figure, axes: Any, published: Sequence[Entry], points: Sequence[Point]) -> None:
    """Names beside the most robust of the published entries."""
    known = sorted((each for each in published if each.robust), key=lambda each: -each.score)[:LABELLED]
    if known:
        at = [(each.clean.mean, each.robust.mean) for each in known if each.robust]
        around = [(each.clean.mean, each.robust.mean) for each in published if each.robust]
        names = [plain(each.method, 28) for each in known]
        write_beside(made, axes, at, names, GREY, [*around, *((p.x, p.y) for p in points)])


def _time_ticks(axes: Any, seconds: Sequence[float]) -> None:
    """Times as people say them, at most seven."""
    from matplotlib.ticker import NullLocator

    low, high = min(seconds) / 1.15, max(seconds) * 1.15
    axes.set_xlim(low, high)
    inside = [each for each in TIMES if low <= each <= high]
    inside = inside if len(inside) > 1 else sorted({min(seconds), max(seconds)})
    axes.set_xticks(inside := inside[:: -(-len(inside) // 7) or 1], [_time(each) for each in inside])
    axes.xaxis.set_minor_locator(NullLocator())


def _time(seconds: float) -> str:
    """100 ms, 2 s, 30 min, 5 h."""
    size, unit = (1e-3, "ms") if seconds < 1 else (1, "s") if seconds < 60 else (60, "min")
    return f"{seconds / size:.3g} {unit}" if seconds < 3600 else f"{seconds / 3600:,.4g} h"


def _row(p: Point, across: str, up: str) -> dict[str, Any]:
    ends = {
        f"{name}_{end}": getattr(found, end) if found else "" for name, found in ((across, p.across), (up, p.up))
        for end in ("low", "high")
    }  # fmt: skip
    return {"method": p.name, "kind": "mean", "seed": "", across: p.x, up: p.y, **ends, "unreliable": int(p.doubtful)}


def _seed_rows(points: Sequence[Point], across: str, up: str) -> list[dict[str, Any]]:
    return [{"method": p.name, "kind": "seed", "seed": number, across: x, up: y}
            for p in points for number, (x, y) in zip(p.numbers, p.seeds, strict=True)]  # fmt: skip


def _count(points: Sequence[Point]) -> str:
    return f"{len(points)} methods" if len(points) > 1 else "one method"


def _doubts(points: Sequence[Point], entries: Sequence[Entry]) -> str:
    """What a reader must know of the points before believing them."""
    names = [p.name for p in points if p.doubtful]
    text = f" AutoAttack's result is unreliable for {', '.join(names)} (hollow)." if names else ""
    rows = [each.row for each in entries if each.row]
    few = [f"{row.name} ({len(row.per_seed)})" for row in rows if len(row.per_seed) < SEEDS]
    return text + (f" Of fewer than {SEEDS} seeds: {', '.join(few)}." if few else "")


def _left_out(points: Sequence[Point], low: float) -> str:
    names = [f"{p.name} ({p.y:.1f} %)" for p in points if p.y < low]
    return f" At the lower edge, with an arrow, and not to scale: {', '.join(names)}." if names else ""
