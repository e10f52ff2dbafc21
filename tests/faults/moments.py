"""Moments at which a process is interrupted: by the clock, or by the change of a file that it is about to make."""

from __future__ import annotations

import multiprocessing
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
"""Python's audit events that change a folder; os.replace is a renaming."""
HELD = 600.0  # seconds that a process waits for its kill
SOON = 0.004  # seconds after a change began in which it, or the next one, is under way


class Moment(NamedTuple):
    """``seconds`` after the command began, or after it began its ``change``-th change, counted from 1.

    Without seconds a change is not made: the process is killed right before it.
    """

    signum: int
    seconds: float = 0.0
    change: int = 0

    @property
    def way(self) -> str:
        return "before a change" if self.held else "within a change" if self.change else "by the clock"

    @property
    def held(self) -> int:
        """The change that the process waits at, as nothing can be killed quickly enough; 0 for none."""
        return 0 if self.seconds or self.signum != signal.SIGKILL else self.change


def drawn(draw: random.Random, seconds: float, changes: int, single: bool = True) -> Moment:
    """A moment within so many seconds and changes of a command; ``single``: which works in one process."""
    signum = draw.choices([signal.SIGKILL, signal.SIGTERM], [4, 1])[0]
    way = draw.choices("clock before within".split(), [4, 3 if single else 0, 3])[0]
    if way == "clock" or not changes:
        return Moment(signum, draw.uniform(0.1, 1) * seconds)
    return Moment(signum, draw.uniform(0, SOON) if way == "within" else 0.0, draw.randrange(changes) + 1)


def watched(fifo: str, held: int, temporary: str) -> None:
    """In the process itself: say each change of a file before it is made, and wait at number ``held``."""
    told, here, count = os.open(fifo, os.O_WRONLY), os.getcwd(), 0
    tempfile.tempdir = temporary

    def said(what: str, path: Any) -> None:
        nonlocal count
        place = os.path.abspath(os.fsdecode(path))
        if not place.startswith(here):
            return
        count += 1
        os.write(told, f"{what} {os.path.basename(place)}\n".encode())
        if count == held:
            time.sleep(HELD)

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event in CHANGES:
            said(event.removeprefix("os."), given[0])
        elif event == "open" and not isinstance(given[0], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            said("open", given[0])

    sys.addaudithook(heard)
    fsync = os.fsync

    def flushed(file: int) -> None:
        said("fsync", os.readlink(f"/proc/self/fd/{file}") if Path("/proc").exists() else here)
        fsync(file)

    os.fsync = flushed  # which audits nothing


def quick() -> None:
    """In the process itself: what has nothing to do with files takes less time, and workers are forked."""
    from robench_fire.devices import meters, workers
    from robench_fire.evaluation.autoattack import attack_sets, square
    from robench_fire.launching import local

    meters.SIZES["cpu"] = meters.SIZES["cpu"][:1]
    attack_sets.AttackedBlock.targets = property(lambda attacked: range(2, 5))  # type: ignore[assignment]
    square.QUERIES = attack_sets.QUERIES = 300
    workers.CONTEXT = local.CONTEXT = multiprocessing.get_context("fork")  # type: ignore[assignment]


class Changes:
    """What a watched process says, as it comes."""

    def __init__(self, fifo: Path) -> None:
        os.mkfifo(fifo)
        self.path, self.said = str(fifo), list[str]()
        self._file, self._rest = os.open(fifo, os.O_RDWR | os.O_NONBLOCK), ""  # for writing too: it never ends

    def listen(self, seconds: float) -> Sequence[str]:
        """Everything said so far; waits so long for more."""
        if select.select([self._file], [], [], seconds)[0]:
            *lines, self._rest = (self._rest + os.read(self._file, 1 << 16).decode()).split("\n")
            self.said += lines
        return self.said

    def close(self) -> None:
        os.close(self._file)


@contextmanager
def changes() -> Iterator[Changes]:
    with tempfile.TemporaryDirectory() as folder:
        found = Changes(Path(folder) / "changes")
        try:
            yield found
        finally:
            found.close()
