"""Progress on stderr: bars with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Eta
from rich.table import Column

from robench_fire.errors import printable
from robench_fire.progress import NOTE, Event, Listen
from robench_fire.quantity import duration

PLAIN_SECONDS = 15.0  # between two lines of one stage

stderr = Console(stderr=True, soft_wrap=True)


def say(text: str) -> None:
    """One message to the user."""
    stderr.print(printable(text), highlight=False, markup=False)


@contextmanager
def listening(total: int, what: str) -> Iterator[Listen]:
    """A listener for ``total`` runs that shows how they get on until the body is left."""
    if stderr.is_terminal:
        with _bars() as progress:
            yield _noting(_Bars(progress, total, what).hear)
    else:
        yield _noting(_Lines(total).hear)


def _noting(listen: Listen) -> Listen:
    def hear(event: Event) -> None:
        if event.stage == NOTE:
            say(f"{event.run}: {event.note}")
        else:
            listen(event)

    return hear


def _bars() -> Progress:
    narrow = stderr.width < 110  # then loss and validation matter more than a bar
    share = TextColumn("{task.percentage:>3.0f}%")
    columns = [
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        *([share] if narrow else [BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn()]),
        Eta(compact=True),
        TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    ]
    return Progress(*columns, console=stderr, expand=True, speed_estimate_period=120)


class _Bars:
    """One bar for all runs and one for each run under way."""

    def __init__(self, progress: Progress, total: int, what: str) -> None:
        self._progress = progress
        self._all = progress.add_task(escape(what), total=total, note="") if total > 1 else None
        self._current: dict[str, tuple[str, TaskID]] = {}

    def hear(self, event: Event) -> None:
        run, note = (escape(printable(text)) for text in (event.run, event.note))  # which may look like markup
        event = event._replace(run=run, note=note)
        stage, task = self._current.get(event.run, ("", None))
        if stage != event.stage and task is not None:
            if self._all is not None:  # of a single run every stage stays in view
                self._progress.remove_task(task)
            del self._current[event.run]
            task = None
        if event.stage in ("done", "failed"):
            if event.stage == "failed":
                self._progress.console.print(f"[red]failed[/red] {event.run}: {event.note}")
            if self._all is not None:
                self._progress.advance(self._all)
            return
        if task is None:
            task = self._progress.add_task(f"  {event.run}: {event.stage}", total=event.total, note=event.note)
            self._current[event.run] = (event.stage, task)
        self._progress.update(task, completed=event.done, total=event.total, note=event.note)


class _Lines:
    """A line when a stage begins, every few seconds while it lasts, and when a run ends."""

    def __init__(self, total: int) -> None:
        self._total, self._over = total, 0
        self._stages: dict[str, tuple[str, float, float, int]] = {}  # stage, when it began and last spoke, first step

    def hear(self, event: Event) -> None:
        now = time.monotonic()
        stage, began, spoke, first = self._stages.get(event.run, ("", now, 0.0, 0))
        if event.stage in ("done", "failed"):
            self._over += 1
            said = f"{event.run}: {event.stage} ({self._over} of {self._total}) {event.note}"
            say(f"{_now()} {said}".rstrip())
            return
        if stage != event.stage:
            stage, began, spoke, first = event.stage, now, now - PLAIN_SECONDS, event.done
        if now - spoke >= PLAIN_SECONDS:
            spoke = now
            made = event.done - first  # since this process began: a resumed run has a head start
            left = (now - began) * (event.total - event.done) / made if made else 0
            eta = f", {duration(left)} left" if made and now - began > 1 else ""
            share = 100 * event.done // max(event.total, 1)
            say(f"{_now()} {event.run}: {stage} {share} %{eta} {event.note}".rstrip())
        self._stages[event.run] = (stage, began, spoke, first)


def _now() -> str:
    """The time of day, as a log has it."""
    return time.strftime("%H:%M:%S")
