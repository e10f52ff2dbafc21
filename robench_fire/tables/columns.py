"""The columns of a table, and each entry's text in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from robench_fire.boards import corrupted, united
from robench_fire.comparison.interval import Interval
from robench_fire.errors import UsageError, unknown
from robench_fire.statistics.summary import MeanStd
from robench_fire.tables import cost_columns
from robench_fire.tables.entries import OURS, Entry

ALONE = {"FGSM": "fgsm", "PGD-20 CW": "pgd20-cw", "Square": "square", "Transfer": "transfer"}
"""Columns of attacks that are run by themselves, beside PGD-20 and AutoAttack."""
NUMBERS = {"Clean", "AutoAttack", "Worst case", "Union", "PGD-20", "Average", "Train time", "#", "Seeds", "Seed",
           "FIRE paper", "RobustBench", "Val. clean", "Val. robust", "Corruptions", *ALONE,
           *cost_columns.COLUMNS}  # fmt: skip
"""Columns that are set to the right."""


class Shown(NamedTuple):
    """What a table shows, beside the usual or in its place.

    ``paper``: columns with what the paper and RobustBench report for the same setting. ``published``: also the
    published entries that compare; then a rank is a place among those, and ours have the rank that they would take.
    ``cost``: columns with what a seed cost, in place of those that describe the training; ``attacks``: with what each
    attack by itself leaves, likewise. ``intervals``: 95 % intervals in place of the std over seeds. ``per_seed``: a
    line for each seed. ``names``: these columns, in this order. ``caption``: in place of a table's title.
    """

    paper: bool = False
    published: bool = False
    cost: bool = False
    attacks: bool = False
    intervals: bool = False
    per_seed: bool = False
    names: tuple[str, ...] = ()
    caption: str = ""


USUAL = Shown()


def columns(measured: Sequence[Entry], shown: Shown) -> list[str]:
    """The names of the columns."""
    without_aa = any(entry.robust is None and entry.pgd20 is not None for entry in measured)
    profiles = any(entry.profile not in ("", "matched") for entry in measured)
    seed, seeds = (["Seed"], []) if shown.per_seed else ([], ["Seeds"])
    worst = ["Worst case"] if any(entry.worst for entry in measured) else []
    worst += ["Union"] if any(union(entry) for entry in measured) else []
    first = ["#", "Method", *seed, "Architecture", "Clean", "AutoAttack", *worst, *(["PGD-20"] if without_aa else [])]
    first += ["Corruptions"] if any(corruptions(entry) for entry in measured) else []
    reported = ["FIRE paper", "RobustBench"] if shown.paper else []
    if shown.attacks:
        known = [column for column, name in ALONE.items() if any(entry.alone(name) for entry in measured)]
        white = ["#", "Method", *seed, "Clean", *(column for column in ("FGSM",) if column in known), "PGD-20"]
        return [*white, *(column for column in ("PGD-20 CW",) if column in known), "AutoAttack", *worst,
                *(column for column in ("Square", "Transfer") if column in known), *reported]  # fmt: skip
    if shown.cost:
        return [*first, *cost_columns.columns(measured), *reported]
    return [*first, "Average", *seeds, "Train time", "Extra data", *(["Profile"] if profiles else []), *reported]


def chosen(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of the ``known`` columns that are asked for, whatever the case of their letters.

    Raises:
        UsageError: for one that there is not.
    """
    by_name = {name.casefold(): name for name in known}
    for each in asked:
        if each.casefold() not in by_name:
            raise UsageError(unknown("column", each, known))
    return list(dict.fromkeys(by_name[each.casefold()] for each in asked))


def values(entry: Entry, rank: int, signs: str, shown: Shown, intervals: Mapping[str, Interval]) -> dict[str, str]:
    """Every column's text. ``signs``: behind the method. ``intervals``: by column, where they are shown."""
    ours = " (ours)" if shown.published and entry.origin == OURS else ""
    asked = shown.attacks or shown.names
    accuracies = {"Clean": entry.clean, "AutoAttack": entry.robust, "PGD-20": entry.pgd20, "Average": entry.average}
    return {
        "#": str(rank),
        "Method": entry.method + ours + signs,
        "Architecture": entry.architecture or "–",
        **{column: _accuracy(value, intervals.get(column), shown) for column, value in accuracies.items()},
        **{column: _text(entry.alone(name) if asked else None) for column, name in ALONE.items()},
        "Worst case": _text(entry.worst),
        "Union": _text(union(entry)),
        "Corruptions": _text(corruptions(entry)),
        "Seeds": entry.seeds,
        "Seed": "–" if entry.seed is None else str(entry.seed),
        "Train time": _duration(entry.train_seconds),
        "Extra data": {"file": "yes", "hidden": "hidden labels", "given": "given weights"}.get(entry.extra, "no"),
        "Profile": entry.profile or "–",
        "FIRE paper": entry.reported.get("FIRE paper", "–"),
        "RobustBench": entry.reported.get("RobustBench", "–"),
        **(cost_columns.texts(entry) if shown.cost else {}),
    }


def union(entry: Entry) -> MeanStd | None:
    """Robust accuracy under several norms together; None where it is not known."""
    return united.over_seeds(entry.row.facts, entry.row.per_seed) if entry.row else None


def corruptions(entry: Entry) -> MeanStd | None:
    """Mean accuracy under common corruptions; None where it is not known."""
    return corrupted.over_seeds(entry.row.facts, entry.row.per_seed) if entry.row else None


def _accuracy(value: MeanStd | None, interval: Interval | None, shown: Shown) -> str:
    if value is None or not shown.intervals:
        return _text(value)
    return f"{value.mean:.2f}" + (f" ± {interval.half:.2f}" if interval else "")


def _text(value: MeanStd | None) -> str:
    return "–" if value is None else f"{value}"


def _duration(seconds: MeanStd | None) -> str:
    if seconds is None:
        return "–"
    if seconds.mean < 120:
        return f"{seconds:.1f} s"
    scaled = 3600 if seconds.mean >= 2 * 3600 else 60
    unit = "h" if scaled == 3600 else "min"
    spread = None if seconds.std is None else seconds.std / scaled
    return f"{MeanStd(seconds.mean / scaled, spread, seconds.n):.1f} {unit}"
