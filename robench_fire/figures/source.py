"""What a figure is drawn of: rows of one setting, or the runs of each plan, called as tables call them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from robench_fire.boards.labels import filtered, labelled
from robench_fire.boards.rows import Row
from robench_fire.errors import DataError, UsageError
from robench_fire.runs.folders import Run, find
from robench_fire.tables.choice import chosen_in
from robench_fire.tables.entries import Entry, entries_in


class Plan(NamedTuple):
    """The seeds of a plan, whatever became of them. ``row``: of no results, for its names and settings."""

    name: str
    runs: tuple[Run, ...]
    row: Row


def entries(sources: Sequence[Path], only: Sequence[str] = (), where: Sequence[str] = (), eps: str = "") -> list[Entry]:
    """Entries of one data set, norm, radius, number of images and seed of the evaluation, with AutoAttack's result.

    Raises:
        DataError: if there are none.
        UsageError: for a name, a setting or a radius that does not fit, or entries of several settings.
    """
    found = chosen_in(entries_in(sources, eps), only, where)
    attacked = [each for each in found if each.robust is not None]
    if not attacked:
        raise DataError(f"no row here has AutoAttack's result; make it first: `robench eval {sources[0]} --attack aa`")
    settings = {_setting(each): None for each in attacked}
    if len(settings) > 1:
        raise UsageError(f"a figure is of one setting, and here are {'; '.join(settings)}; name a folder, or --eps")
    return attacked


def _setting(entry: Entry) -> str:
    seed = f", evaluation seed {entry.evaluation_seed}" if entry.evaluation_seed else ""
    return f"{entry.dataset} {entry.norm} {entry.eps} on {entry.examples:,} images{seed}"


def setting(found: Sequence[Entry]) -> str:
    """Of entries of one setting, as a figure's title says it."""
    return _setting(found[0])


def plans(sources: Sequence[Path], only: Sequence[str] = (), where: Sequence[str] = ()) -> list[Plan]:
    """The plans that have run folders at ``sources``, trained to the end or not.

    Raises:
        DataError: if there are none, or a file of one is missing or broken.
        UsageError: for a name or a setting that no plan has.
    """
    found: defaultdict[Path, dict[Path, Run]] = defaultdict(dict)
    for source in sources:
        for run in find(source):
            found[run.folder.resolve().parent][run.folder.resolve()] = run
    if not found:
        raise DataError(
            f"this figure needs run folders, and {', '.join(map(str, sources))} holds none; boards have no more than "
            "results: train something first, `robench train fire digits`"
        )
    rows = labelled([_row(next(iter(runs.values()))) for runs in found.values()])
    made = [Plan(row.name, tuple(runs.values()), row) for row, runs in zip(rows, found.values(), strict=True)]
    kept = filtered(rows, only, where)
    if not kept:
        raise UsageError(f"no run has {' and '.join([*only, *where])}; ask for less")
    return [plan for plan in made if any(plan.row is row for row in kept)]


def few(found: Sequence[Plan], most: int, kind: str) -> list[Plan]:
    """The plans, if a figure has room for them.

    Raises:
        UsageError: if they are too many.
    """
    if len(found) > most:
        names = ", ".join(f'"{plan.name}"' for plan in found)
        room = "one method" if most == 1 else f"at most {most} methods"
        raise UsageError(f"`{kind}` shows {room}, and here are {len(found)}: choose with --only among {names}")
    return list(found)


def _row(run: Run) -> Row:
    plan, about = run.read("plan.json"), run.read("provenance.json")
    facts, fingerprint = {"by_hand": about["by_hand"]}, run.folder.resolve().parent.name
    return Row(
        paper=about["paper"], architecture=about["architecture"], plan=plan, fingerprint=fingerprint,
        norm=plan["claim"]["kind"], eps=plan["claim"]["eps"], attack="", examples=0, evaluation_seed=0, per_seed={},
        unfinished=(), pgd20={}, facts=facts,
    )  # fmt: skip
