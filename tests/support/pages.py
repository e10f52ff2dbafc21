"""Entries of pages, and a page as a reader sees it."""

from __future__ import annotations

from typing import Any

from repository import DIGITS_BOARD

from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.entries import PUBLISHED, Entry, entries_in

MEASURED = entries_in([DIGITS_BOARD])


def one(value: float) -> MeanStd:
    return MeanStd(value, None, 1)


def other(key: str, clean: float, robust: float | None, **facts: Any) -> Entry:
    """A published entry that compares with those of the board."""
    first = MEASURED[0]
    given = {
        "method": key, "title": f"On {key}", "link": f"https://example.org/{key}", "authors": "A. Author",
        "venue": "ICML 2019", "architecture": "WideResNet-34-10", "source": "RobustBench", "unreliable": False,
    }  # fmt: skip
    return Entry(
        origin=PUBLISHED, key=key, clean=one(clean), robust=None if robust is None else one(robust),
        dataset=first.dataset, norm=first.norm, eps=first.eps, **{**given, **facts},
    )  # fmt: skip


OTHERS = [
    other("Deep2021", 97.34, 66.1, best_known=65.2, extra="file", unreliable=True, architecture="WideResNet-106-16"),
    other("Wide2020", 88.34, 56.5, venue="", unreliable=None, notes=("Uses another radius.", "Not by us.")),
    other("Small2019", 9.02, 51.25, architecture="", link=""),
    other("Clean2018", 98.5, None, venue="arXiv, Oct 2018"),
]
