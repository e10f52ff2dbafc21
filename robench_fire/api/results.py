"""Rows of runs and boards as data frames: tables, and whether rows differ."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench_fire.api.speaking import Source, called, pairs
from robench_fire.boards.labels import chosen
from robench_fire.boards.rows import Row
from robench_fire.comparison import compare as comparing
from robench_fire.comparison.scores import Metric, check_comparable
from robench_fire.errors import UsageError, unknown
from robench_fire.tables.choice import chosen_in
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import entries_in
from robench_fire.tables.formats import frame
from robench_fire.tables.render import ranked

if TYPE_CHECKING:
    import pandas as pd

FIRST = ["method", "architecture", "clean", "clean_std", "robust", "robust_std", "seeds", "examples"]
"""Columns that a reader looks for first."""


def table(
    *sources: Source, only: str | Sequence[str] = (), where: Mapping[str, Any] | None = None,
    label: Mapping[str, str] | None = None, eps: str = "", published: bool = False, cost: bool = False,
    intervals: bool = False, per_seed: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """What runs and boards hold, one line per plan, the best first: the numbers of `robench table`.

    Columns: method, architecture, clean and robust (AutoAttack) accuracy in percent and their std over seeds, how many
    seeds and test images, then pgd20, average, train_seconds, and what describes the row. NaN: not measured.

    Args:
        sources: runs that ``train`` returned, run folders, boards, evaluated weights; none: the folder ``runs``.
        only: names of rows, as they are called in the column method, or defenses.
        where: settings that a row must have, {"defense.lam": 6}.
        label: what to call rows, {"FIRE": "ours"}.
        eps: rows that claim this radius instead of the plan's.
        published: also RobustBench's rows of the same data set, norm and radius.
        cost: columns with what a seed cost.
        intervals: columns with 95 % intervals over seeds and images, clean_low to average_high.
        per_seed: a line for each seed.

    Raises:
        RobenchError: if there is nothing, or a name, a setting or a radius is of no row.
    """
    with called():
        shown = Shown(published=published, cost=cost, intervals=intervals, per_seed=per_seed)
        found = entries_in(_paths(sources), eps)
        names = [only] if isinstance(only, str) else only
        settings, labels = ([f"{key}={text}" for key, text in pairs(each)] for each in (where, label))
        made = frame(ranked(chosen_in(found, names, settings, labels), shown), shown)
        made = made.rename(columns=lambda name: name.replace("autoattack_", "robust_").removesuffix("_mean"))
        measured = [name for name in made.columns if f"{name}_std" in made.columns or name.endswith("_std")]
        made = made.astype(dict.fromkeys([*measured, "best_known"], float))
        ordered: pd.DataFrame = made[[*FIRST, *(name for name in made.columns if name not in FIRST)]]
        return ordered


def compare(
    source: Source | Sequence[Source], one: str, *others: str, metric: Metric = "robust", eps: str = ""
) -> pd.DataFrame:
    """Whether one row differs from others, over seeds and test images: the numbers of `robench compare`.

    Columns: one, other, metric, difference (points), low and high (its 95 % interval), p, p_holm (Holm's adjustment
    among the lines), verdict (above, below, undecided at 5 %), paired (over the same images, not over seeds alone),
    seeds_one, seeds_other, images, seeds_needed and images_needed (to settle an undecided one), sentence.

    Args:
        source: runs, folders of runs, or a board; several in a list.
        one: a row, as tables call it, or its defense.
        others: those that it is compared with; none: every row that was attacked alike.
        metric: clean, robust, or their average.
        eps: rows that claim this radius instead of the plan's.

    Raises:
        RobenchError: for a name of no row or of several, or rows that were not attacked alike.
    """
    with called():
        if metric not in ("clean", "robust", "average"):
            raise UsageError(unknown("metric", metric, ("clean", "robust", "average")))
        places = [source] if isinstance(source, (str, os.PathLike)) else source
        rows = comparing.rows_at(_paths(places), eps)
        (first,) = chosen(rows, [one])
        beside = chosen(rows, others) if others else [row for row in rows if row is not first and _alike(first, row)]
        if not beside:
            raise UsageError(f"no other row was attacked as {first.name} was: there is nothing to compare it with")
        return _frame(comparing.compare([first, *beside], metric))


def _alike(one: Row, other: Row) -> bool:
    try:
        check_comparable(one, other)
    except UsageError:
        return False
    return True


def _frame(found: Sequence[comparing.Comparison]) -> pd.DataFrame:
    import pandas as pd

    counts = dict.fromkeys(("seeds_needed", "images_needed"), "Int64")  # which may be empty, and are no fractions
    made: pd.DataFrame = pd.DataFrame([_line(each) for each in found]).astype(counts)
    return made


def _line(each: comparing.Comparison) -> dict[str, Any]:
    plain = comparing.as_plain(each)
    return {
        "one": each.one.name, "other": each.other.name, "metric": each.metric, "difference": plain["difference"],
        "low": plain["interval"][0], "high": plain["interval"][1], "p": plain["p"], "p_holm": plain["p_holm"],
        "verdict": each.verdict, "paired": each.paired, "seeds_one": plain["seeds"][0],
        "seeds_other": plain["seeds"][1], "images": plain["images"], "seeds_needed": plain["seeds_needed"],
        "images_needed": plain["images_needed"], "sentence": plain["sentence"],
    }  # fmt: skip


def _paths(sources: Sequence[Source]) -> list[Path]:
    return [Path(each) for each in sources] or [Path(os.environ.get("ROBENCH_RUNS") or "runs")]
