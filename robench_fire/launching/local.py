"""Running many seeds, in this process or in several, and telling one listener how they get on."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any

from robench_fire import stopping
from robench_fire.devices.workers import CONTEXT, DIED, ended, pool
from robench_fire.errors import RobenchError, unexpected
from robench_fire.progress import Event, Listen, Report

Task = Callable[[Report], None]
"""Picklable work for one run: called with a report."""


def launch(tasks: Mapping[str, Task], jobs: int, listen: Listen) -> dict[str, RobenchError]:
    """Run every task, at most ``jobs`` at a time; a failing one does not stop the others.

    Tasks that were under way or waiting when a worker died are run once more; if one dies again, what is then left is
    run each in a process of its own, one after another.

    Returns:
        The errors by task name, in the order of the tasks.

    Raises:
        Stopped: after a signal; tasks under way have ended their step, the others do not begin.
    """
    if jobs == 1:
        found = {name: attempt(name, task, listen) for name, task in tasks.items()}
    else:
        found = _elsewhere(tasks, jobs, listen)
        if len(left := {name: task for name, task in tasks.items() if name not in found}) > 1:
            found |= _elsewhere(left, jobs, listen)
        for name in [name for name in tasks if name not in found]:
            alone = _elsewhere({name: tasks[name]}, 1, listen)
            found[name] = alone.get(name, RobenchError(DIED))
            if name not in alone:
                listen(ending(name, found[name]))
    return {name: error for name in tasks if (error := found[name]) is not None}


def attempt(name: str, task: Task, listen: Listen) -> RobenchError | None:
    """Run one task here; its error, if any, which its last event says too."""
    stopping.check()
    error: RobenchError | None = None
    try:
        task(reporter(name, listen))
    except RobenchError as fault:
        stopping.check()  # which may be why
        error = fault
    except Exception as fault:
        stopping.check()
        if os.environ.get("ROBENCH_DEBUG"):
            raise
        error = unexpected(fault)
    listen(ending(name, error))
    return error


def _elsewhere(tasks: Mapping[str, Task], jobs: int, listen: Listen) -> dict[str, RobenchError | None]:
    """The error, if any, of each task that a worker brought to an end; those of a broken pool are missing."""
    events: Any = CONTEXT.Queue()
    found: dict[str, RobenchError | None] = {}
    with _relay(events, listen) as heard, pool(jobs, _begin, events) as submit:  # no worker is left that could speak
        running: dict[Future[Any], str] = {}
        with suppress(BrokenProcessPool):  # while tasks are still handed over
            for name, task in tasks.items():
                running[submit(_work, name, task)] = name
        for future in ended(running):
            if not isinstance(future.exception(), BrokenProcessPool):
                found[running[future]] = future.result()
    for name in set(found) - heard:  # its last event was lost with its worker
        listen(ending(name, found[name]))
    return found


def ending(name: str, error: RobenchError | None) -> Event:
    """The last event of a run."""
    return Event(name, "failed" if error else "done", 1, 1, str(error or ""))


@contextmanager
def _relay(events: Any, listen: Listen) -> Iterator[set[str]]:
    """Hand workers' events to the listener from a thread until the body is left; the runs whose last one was heard."""
    over, heard = threading.Event(), set[str]()

    def run() -> None:
        while True:
            try:
                event = Event(*events.get(timeout=0.2))
            except queue.Empty:
                if over.is_set():
                    return
                continue
            if event.stage in ("done", "failed"):
                heard.add(event.run)
            listen(event)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        thread.join()


def reporter(name: str, listen: Listen) -> Report:
    """For the run ``name``, a report that passes on at most ten events a second, and every change of stage."""
    last: list[Any] = ["", 0.0]

    def report(stage: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if stage != last[0] or done == total or now - last[1] > 0.1:
            last[:] = [stage, now]
            listen(Event(name, stage, done, total, note))

    return report


_events: Any = None


def _begin(events: Any) -> None:
    global _events
    _events = events


def _work(name: str, task: Task) -> RobenchError | None:
    return attempt(name, task, _events.put)
