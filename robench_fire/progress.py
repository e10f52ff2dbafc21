"""How work says how far it got, to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

Progress = Callable[[int, int, str], None]
"""(steps done, steps in all, note) of one stage."""
Report = Callable[[str, int, int, str], None]
"""(stage, steps done, steps in all, note) of one run."""


NOTE = "note"
"""The stage of an event that only says something."""


class Event(NamedTuple):
    """How a run gets on: a stage, steps done and in all; stage "done" or "failed" is its last."""

    run: str
    stage: str
    done: int
    total: int
    note: str


Listen = Callable[[Event], None]
Listening = Callable[[int, str], AbstractContextManager[Listen]]
"""(number of runs, what they are) to a listener that lives as long as the context."""


def silent(done: int, total: int, note: str) -> None:
    """A Progress that shows nothing."""
