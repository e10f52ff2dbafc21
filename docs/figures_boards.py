"""The committed boards, as the pages' figures read them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from robench_fire.boards.rows import Row
from robench_fire.statistics.summary import MeanStd, mean_std
from robench_fire.tables.entries import Entry, entries_in

ROOT = Path(__file__).parent.parent


@cache
def entries(board: str) -> dict[str, Entry]:
    """The rows of a board by method."""
    return {each.method: each for each in entries_in([ROOT / "leaderboards" / board])}


def row(board: str, method: str) -> Row:
    """One row of a board."""
    found = entries(board)[method].row
    assert found is not None
    return found


def apart(board: str, one: str, other: str, measure: str = "robust") -> MeanStd:
    """The difference of two methods, seed by seed."""
    mine, its = row(board, one).per_seed, row(board, other).per_seed
    return mean_std([mine[seed][measure] - its[seed][measure] for seed in mine])


def flattered(board: str) -> list[tuple[float, str]]:
    """By how much PGD-20 overestimates AutoAttack's accuracy of each method, least first."""
    found = [(each.pgd20.mean - each.robust.mean, each.method) for each in entries(board).values()
             if each.pgd20 and each.robust]  # fmt: skip
    return sorted(found)


def verdicts(board: str) -> dict[str, list[str]]:
    """ "METHOD seed K" of every evaluation, by its verdict."""
    found: dict[str, list[str]] = {}
    for method in entries(board):
        for seed, each in row(board, method).facts["verdicts"].items():
            found.setdefault(each["verdict"], []).append(f"{method} seed {seed}")
    return found


def listed(words: list[str]) -> str:
    """A, B and C."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
