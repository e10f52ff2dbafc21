"""The difference of two rows, its interval, and what it would take to settle it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from robench_fire.boards.labels import labelled
from robench_fire.boards.model_info import find_rows
from robench_fire.boards.rows import Row
from robench_fire.comparison.scores import Metric, check_comparable, per_seed, scores
from robench_fire.errors import DataError, RobenchError, UsageError
from robench_fire.quantity import duration
from robench_fire.runs.evaluations import ATTACK_NAMES
from robench_fire.statistics.paired import Difference, difference, holm, images_needed, over_seeds, seeds_needed

METRIC_NAMES = {"clean": "clean accuracy", "average": "the average of clean accuracy and AutoAttack"}


class Comparison(NamedTuple):
    """One row less another.

    ``adjusted``: Holm's p value among all that were compared at once. ``more_seeds``, ``more_images``: how many would
    settle it; None where it is settled, or not so many would. ``most_images``: that there are.
    """

    one: Row
    other: Row
    metric: Metric
    found: Difference
    adjusted: float
    paired: bool
    more_seeds: int | None
    more_images: int | None
    most_images: int

    @property
    def differs(self) -> bool:
        return self.adjusted < 0.05

    @property
    def verdict(self) -> str:
        """What is shown of ``one``: "above" or "below" ``other``, or "undecided"."""
        return ("above" if self.found.value > 0 else "below") if self.differs else "undecided"


def rows_at(sources: Sequence[Path], eps: str = "") -> list[Row]:
    """The rows of ours at ``sources``, boards or folders of runs, told apart; ``eps``: see find_rows.

    Raises:
        DataError: if there are none, or a source does not exist.
    """
    for source in sources:
        if not source.exists():
            raise DataError(f"{source} does not exist; name a board or a folder of runs")
    rows = labelled([row for source in sources for row in find_rows(source, eps)])
    if not rows:
        places = " and ".join(map(str, sources))
        raise DataError(f"{places} holds no evaluated rows of ours; published figures have no seeds to compare")
    return rows


def compare(rows: Sequence[Row], metric: Metric) -> list[Comparison]:
    """The first row against each of the others.

    Raises:
        UsageError: if they were not attacked alike, or have neither masks nor several seeds.
        DataError: if a mask is broken.
    """
    first, *others = rows
    for other in others:
        check_comparable(first, other)
    made = [measured(first, other, metric) for other in others]
    adjusted = holm([found.p for found, _ in made])
    return [
        Comparison(first, other, metric, found, p, paired, *_needed(first, found, p, paired))
        for other, (found, paired), p in zip(others, made, adjusted, strict=True)
    ]


def _needed(row: Row, found: Difference, p: float, paired: bool) -> tuple[int | None, int | None, int]:
    """Seeds of each, and test images, that would settle an undecided difference; and how many images there are."""
    if min(p, found.p) < 0.05:
        return None, None, row.examples
    there = _test_images(row)
    return seeds_needed(found), images_needed(found, there) if paired else None, there


def measured(one: Row, other: Row, metric: Metric) -> tuple[Difference, bool]:
    """The difference over seeds and images where both rows have masks, else over seeds alone; and which of both.

    Raises:
        UsageError: if a row has a single seed and no masks.
        DataError: if a mask is broken.
    """
    pair = scores(one, metric), scores(other, metric)
    if pair[0] is not None and pair[1] is not None:
        return difference(pair[0], pair[1]), True
    values = [per_seed(row, metric) for row in (one, other)]
    if min(map(len, values)) < 2:
        lacking = one if len(values[0]) < 2 else other
        raise UsageError(f"{lacking.name} has a single seed and no masks: nothing says how far it varies; "
                         "publish it again from its run folders")  # fmt: skip
    return over_seeds(values[0], values[1], one.examples), False


def sentence(each: Comparison) -> str:
    """The verdict, for a reader who wants one sentence."""
    found, names = each.found, (each.one.name, each.other.name)
    seeds = f"{found.seeds[0]}" if found.seeds[0] == found.seeds[1] else f"{found.seeds[0]} and {found.seeds[1]}"
    basis = f"95 %, {seeds} seed{'s' * (found.seeds != (1, 1))}, {found.images:,} images"
    where = METRIC_NAMES.get(each.metric, ATTACK_NAMES[each.one.attack])
    size = f"{abs(found.value):.2f} ± {found.half:.2f}"
    side = "points above" if found.value > 0 else "points below" if found.value < 0 else "points apart, level"
    if each.differs:
        said = f"{names[0]} is {size} {side} {names[1]} on {where} ({basis})."
    else:
        told = f"{names[0]} and {names[1]} cannot be told apart on {where}"
        said = f"{told}: the first is {size} {side} ({basis})."
    return " ".join([said, *caveats(each), *_settled(each)])


def caveats(each: Comparison) -> list[str]:
    """What the interval leaves out, and what a reader must know of the rows."""
    notes = []
    if each.found.seed_part is None:
        notes.append("One of them has a single seed: the interval is over images alone, not over training.")
    if not each.paired:
        notes.append("Without masks the interval is over seeds alone, not over images.")
    return [*notes, *remarks(each.one), *remarks(each.other)]


def remarks(row: Row) -> list[str]:
    """What is wrong with a row that is compared all the same."""
    unreliable = [f"AutoAttack's result for {row.name} is unreliable."] if row.verdict == "unreliable" else []
    lacks = f"{row.name} lacks seed {', '.join(map(str, row.unfinished))}."
    return [*unreliable, *([lacks] if row.unfinished else [])]


def _settled(each: Comparison) -> list[str]:
    """How many seeds, or how many images, would settle a difference of this size, and what they cost."""
    found, rows = each.found, (each.one, each.other)
    if each.differs or not found.value or not all(row.trained_here for row in rows):
        return []
    if found.p < 0.05:
        return ["By itself it would be a difference; among so many comparisons it is not shown."]
    ways = []
    if each.more_seeds is not None:
        more = [max(each.more_seeds - count, 0) for count in found.seeds]
        cost = sum(count * _seconds(row, ("training", "attacks")) for count, row in zip(more, rows, strict=True))
        ways.append(f"{each.more_seeds} seeds of each, {sum(more)} more ({_took(cost, rows)})")
    if each.more_images is not None:
        cost = sum(
            len(row.per_seed) * _seconds(row, ("attacks",)) * (each.more_images / row.examples - 1) for row in rows
        )
        known = all("evaluation_seconds" in row.facts for row in rows)
        took = f" ({_took(cost, rows)})" if known else ""
        ways.append(f"{each.more_images:,} test images, {each.more_images - found.images:,} more{took}")
    if not ways and found.seed_part is None:
        return []  # of seeds nothing is known
    if not ways:
        used = "are used" if each.most_images == found.images else "would not either"
        images = f"all {each.most_images:,} test images {used}"
        return [f"100 seeds of each would not settle a difference of this size; {images}."]
    return [f"A difference of this size would be settled, 4 times of 5, by {', or by '.join(ways)}."]


def _seconds(row: Row, parts: tuple[str, ...]) -> float:
    """What a seed takes: its training and, where it is known, its evaluation."""
    attacks = row.facts.get("evaluation_seconds", {})
    known = {"training": row.over_seeds("train_seconds").mean, "attacks": fmean(attacks.values()) if attacks else 0.0}
    return sum(known[part] for part in parts)


def _took(seconds: float, rows: Sequence[Row]) -> str:
    where = sorted(set().union(*(row.settings("device") for row in rows)))
    return f"about {duration(seconds)}" + (f" on {where[0]}" if len(where) == 1 and where[0] else "")


def _test_images(row: Row) -> int:
    """How many there are; as many as were used, where that is not known."""
    from robench_fire.data.own.dataset import known  # here, because it imports torch
    from robench_fire.problem.own_data import own_data

    try:
        size = known(row.dataset, own_data(row.plan.get("data"))).test_size
    except RobenchError:
        size = None
    return max(size or 0, row.examples)


def as_plain(each: Comparison) -> dict[str, Any]:
    """For JSON."""
    found = each.found
    return {
        "metric": each.metric,
        "one": {"method": each.one.paper["method"], "name": each.one.name, "plan": each.one.fingerprint},
        "other": {"method": each.other.paper["method"], "name": each.other.name, "plan": each.other.fingerprint},
        "difference": found.value,
        "interval": [found.low, found.high],
        "p": found.p,
        "p_holm": each.adjusted,
        "differs": each.differs,
        "df": found.df,
        "seeds": list(found.seeds),
        "images": found.images,
        "variance": {"seeds": found.seed_part, "images": found.image_part},
        "over_images": each.paired,
        "seeds_needed": each.more_seeds,
        "images_needed": each.more_images,
        "sentence": sentence(each),
    }
