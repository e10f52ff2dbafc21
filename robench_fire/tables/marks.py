"""Which values of a table are set in bold, and which of its rows nothing else beats in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robench_fire.boards.rows import Row
from robench_fire.comparison.compare import compare
from robench_fire.comparison.interval import Interval, interval
from robench_fire.comparison.scores import Metric, has_masks, varies
from robench_fire.statistics.summary import tied
from robench_fire.tables.cost_columns import cost
from robench_fire.tables.entries import Entry

MEASURES: dict[str, Metric] = {"Clean": "clean", "AutoAttack": "robust", "Average": "average"}
"""Columns of which the best values are set in bold, and which have intervals."""


def doubtful(entry: Entry) -> bool:
    """Whether AutoAttack's result is unreliable, or another attack is known to break more.

    What a user's own attack breaks besides of what was evaluated here makes it unreliable if it is more than noise.
    """
    known = entry.best_known is not None and entry.robust is not None and entry.best_known < entry.robust.mean
    return (known and entry.worst is None) or bool(entry.unreliable)


def best(entries: Sequence[Entry]) -> list[set[str]]:
    """For each entry the columns of MEASURES where it has the best value that can be believed, or one tied with it."""
    found: list[set[str]] = [set() for _ in entries]
    for column, name in MEASURES.items():
        known = {
            number: value for number, entry in enumerate(entries)
            if (value := getattr(entry, name)) is not None and not (column != "Clean" and doubtful(entry))
        }  # fmt: skip
        top = max(known.values(), key=lambda value: value.mean, default=None)
        if top is None or len(known) < 2:
            continue
        for number, value in known.items():
            if value is top or tied(top, value):
                found[number].add(column)
    return found


def best_of_differences(entries: Sequence[Entry]) -> list[set[str]]:
    """The same of entries of ours, by their differences from the best, over seeds and images; none where all are.

    Entries of ours that were not attacked like the best, or of which nothing says how far they vary, are left out.
    """
    found: list[set[str]] = [set() for _ in entries]
    for column, metric in MEASURES.items():
        known = {
            number: entry.row for number, entry in enumerate(entries)
            if entry.row and getattr(entry, metric) and not (column != "Clean" and doubtful(entry))
            and (entry.row.attack == "aa" or column == "Clean") and varies(entry.row)
        }  # fmt: skip
        if len(known) < 2:
            continue
        top = max(known, key=lambda number: float(getattr(entries[number], metric).mean))
        others = [number for number, row in known.items() if number != top and comparable(row, known[top])]
        compared = compare([known[top], *(known[number] for number in others)], metric)
        level = [number for number, each in zip(others, compared, strict=True) if not each.differs]
        if len(level) < len(others):
            for number in (top, *level):
                found[number].add(column)
    return found


def comparable(one: Row, other: Row) -> bool:
    """Whether two rows were attacked alike, and both have masks or several seeds."""
    measurable = (has_masks(one) and has_masks(other)) or min(len(one.per_seed), len(other.per_seed)) > 1
    return one.attack == other.attack and measurable


def intervals(entry: Entry) -> dict[str, Interval]:
    """By column, the 95 % intervals of an entry of ours."""
    found = {}
    for column, metric in MEASURES.items():
        if entry.row and getattr(entry, metric) is not None and (made := interval(entry.row, metric)):
            found[column] = made
    return found


def narrower(found: Mapping[str, Interval]) -> list[str]:
    """What an interval of an entry leaves out, where it is not over seeds and images."""
    over = {each.over for each in found.values()} - {"seeds and images"}
    why = {"seeds": "its file has no masks", "images": "of a single seed, or of seeds that all agree"}
    return [f"± is over {each} alone: {why[each]}." for each in sorted(over)]


def pareto(entries: Sequence[Entry]) -> list[bool]:
    """Whether no other entry of ours is at least as good in clean accuracy, AutoAttack and time, and better in one.

    Entries whose AutoAttack result is unreliable are left out.
    """
    ours = [entry.row is not None and entry.robust is not None and not doubtful(entry) for entry in entries]
    kinds = {cost(entry).kind for entry, own in zip(entries, ours, strict=True) if own}
    points = [_point(entry, len(kinds) == 1 and "" not in kinds) if own else None
              for entry, own in zip(entries, ours, strict=True)]  # fmt: skip
    return [point is not None and not any(beats(other, point) for other in points if other) for point in points]


def _point(entry: Entry, by_device: bool) -> tuple[float, float, float]:
    time = cost(entry).seconds if by_device else entry.train_seconds
    assert entry.robust is not None
    assert time is not None
    return entry.clean.mean, entry.robust.mean, -time.mean


def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one point is nowhere below another, and above it somewhere."""
    return one != other and all(mine >= its for mine, its in zip(one, other, strict=True))
