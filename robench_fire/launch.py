"""Running many seeds, in this process or in several, and telling one listener how they get on."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from robench_fire.errors import RobenchError

Task = Callable[["Report"], None]
"""Picklable work for one run: called with a report."""
Report = Callable[[str, int, int, str], None]


class Event(NamedTuple):
    """How a run gets on: a stage, steps done and in all; stage "done" or "failed" is its last."""

    run: str
    stage: str
    done: int
    total: int
    note: str


Listen = Callable[[Event], None]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch(tasks: Mapping[str, Task], jobs: int, listen: Listen) -> dict[str, RobenchError]:
    """Run every task, at most ``jobs`` at a time; a failing one does not stop the others.

    Returns:
        The errors, by task name.
    """
    failed: dict[str, RobenchError] = {}
    for name, error in _here(tasks, listen) if jobs == 1 else _elsewhere(tasks, jobs, listen):
        if error is not None:
            failed[name] = error
        listen(Event(name, "failed" if error else "done", 1, 1, str(error or "")))
    return failed


def _here(tasks: Mapping[str, Task], listen: Listen) -> Iterator[tuple[str, RobenchError | None]]:
    for name, task in tasks.items():
        try:
            task(_reporter(name, listen))
            yield name, None
        except RobenchError as fault:
            yield name, fault


def _elsewhere(tasks: Mapping[str, Task], jobs: int, listen: Listen) -> Iterator[tuple[str, RobenchError | None]]:
    context = multiprocessing.get_context("spawn")
    events: Any = context.Queue()
    executor = ProcessPoolExecutor(jobs, context, _begin, (events, max(1, cores() // jobs)))
    try:
        running: dict[Future[None], str] = {executor.submit(_work, name, task): name for name, task in tasks.items()}
        with _relay(events, listen):
            for future in as_completed(running):
                yield running[future], _error(future)
    finally:  # also on Ctrl-C and SIGTERM: whatever a worker finished stays, and nothing runs on
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()


def _error(future: Future[None]) -> RobenchError | None:
    try:
        future.result()
    except RobenchError as fault:
        return fault
    except BrokenProcessPool:
        return RobenchError("a worker process died (out of memory?); the same command continues, try --jobs 1")
    return None


class _relay:
    """Hands workers' events to the listener from a thread, until the body is left."""

    def __init__(self, events: Any, listen: Listen) -> None:
        self._events, self._listen, self._over = events, listen, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._listen(Event(*self._events.get(timeout=0.2)))
            except queue.Empty:
                continue


def _reporter(name: str, listen: Listen) -> Report:
    """A report that passes on at most ten events a second, and every change of stage."""
    last: list[Any] = ["", 0.0]

    def report(stage: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if stage != last[0] or done == total or now - last[1] > 0.1:
            last[:] = [stage, now]
            listen(Event(name, stage, done, total, note))

    return report


_events: Any = None


def _begin(events: Any, threads: int) -> None:
    """Set up a worker: its share of the cores, Ctrl-C left to the parent, and no life after the parent's."""
    global _events
    import torch

    _events = events
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(75)


def _work(name: str, task: Task) -> None:
    task(_reporter(name, _events.put))
