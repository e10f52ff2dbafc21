"""A run as it travels to another machine, what is done with it there, and what is sent back meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np
import torch

from robench_fire import stopping
from robench_fire.data import fetching
from robench_fire.devices.device import resolve
from robench_fire.errors import RobenchError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.folder_sync import Change, apply, changes, marks
from robench_fire.launching.local import attempt
from robench_fire.launching.seed import Workplace, run_folder
from robench_fire.progress import Event, Listen, Report
from robench_fire.runs.compose import Composed, Request, compose

Stage = Callable[[Request, int, Evaluations, Workplace, Report], None]
"""``seed.run_seed`` or ``seed.judge_seed``."""

POST_SECONDS = 0.2  # between two letters of a run
SCRATCH, HELD = "robench-run-", ".held"  # a run's folder on its machine, and the lock in it while it is used


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """All that a machine needs for one run, and has from nowhere else.

    ``folder``: the run's, below an output folder, and ``output`` how that is called where the run belongs. ``files``:
    contents by path below the plan's folder. ``code``: of a defense file of the user's own. ``data``: the data folder
    (None: the machine's own). ``command``: the command line, as the run's record says it.
    """

    name: str
    attempt: int
    stage: Stage
    request: Request
    seed: int
    evaluations: Evaluations
    folder: Path
    output: Path
    files: dict[str, bytes]
    code: bytes
    device: str
    compiling: bool | None
    threads: int
    data: Path | None
    command: tuple[str, ...]
    debug: bool


class Letter(NamedTuple):
    """How a run gets on: its events and what changed in its folder. ``attempt`` tells a lost machine's late letters."""

    name: str
    attempt: int
    events: list[Event]
    change: Change


def work(parcel: Parcel, extra: np.ndarray | None, mail: Any) -> RobenchError | None:
    """Do a parcel's run in a folder of this machine's own, posting letters (``mail.put``); its error, if any.

    ``extra``: the bytes of the file of extra data. If Ray cancels it, the run ends after its step, and what it finished
    is posted.
    """
    torch.set_num_threads(parcel.threads)
    sys.argv = list(parcel.command)
    os.environ["ROBENCH_DEBUG"] = "1" if parcel.debug else ""
    with stopping.heeded(signal.SIGINT), _scratch() as scratch:
        output = scratch / "runs"
        apply((output / parcel.folder).parent, Change(parcel.files))
        with _posted(parcel, output / parcel.folder, mail) as listen:
            return attempt(parcel.name, partial(_done, parcel, extra, output), listen)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for one run; those of runs that were killed are removed."""
    for held in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*/{HELD}"):
        with suppress(OSError, filelock.Timeout), filelock.FileLock(held, timeout=0):
            shutil.rmtree(held.parent, ignore_errors=True)
    made = tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True)
    with made as scratch, filelock.FileLock(Path(scratch) / HELD):
        yield Path(scratch)


@contextmanager
def _posted(parcel: Parcel, folder: Path, mail: Any) -> Iterator[Listen]:
    """A listener whose events are posted with what changes in ``folder``; all of it is posted when the body is left.

    From a thread of its own, so that nothing of it counts as time of the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    over, events, known = threading.Event(), deque[Event](), marks(folder)

    def post() -> None:
        nonlocal known
        while True:
            ending = over.wait(POST_SECONDS)
            heard = [events.popleft() for _ in range(len(events))]
            found = changes(folder, known)
            while found is None and ending:
                found = changes(folder, known)
            change, known = found or (Change({}), known)
            if heard or change != Change({}):
                mail.put(Letter(parcel.name, parcel.attempt, heard, change))
            if ending:
                return

    with ThreadPoolExecutor(1) as thread:
        posting = thread.submit(post)
        try:
            yield events.append
        finally:
            over.set()
            posting.result()


def _done(parcel: Parcel, extra: np.ndarray | None, output: Path, report: Report) -> None:
    """The parcel's stage, with files and device of this machine.

    Raises:
        RobenchError: whatever stops the run, its files named as they are called where the run belongs.
    """
    request = _unpacked(parcel, extra, output.parent)
    composed = compose(request)
    if run_folder(composed, output, parcel.seed).folder != output / parcel.folder:
        raise UsageError(
            f"{socket.gethostname()} makes another plan of {parcel.request.defense}: its robench_fire differs; "
            "install the same version on every machine"
        )
    place = Workplace(
        output=output,
        data=parcel.data or fetching.data_folder(),
        device=str(resolve(parcel.device)),
        compiling=parcel.device == "cuda" if parcel.compiling is None else parcel.compiling,
    )
    _bring(composed, place.data, report)
    try:
        parcel.stage(request, parcel.seed, parcel.evaluations, place, report)
    except RobenchError as fault:
        raise type(fault)(str(fault).replace(str(output), str(parcel.output))) from fault


def _unpacked(parcel: Parcel, extra: np.ndarray | None, folder: Path) -> Request:
    """The request with its files in ``folder``."""
    request = parcel.request
    if parcel.code:
        own = folder / Path(request.defense).name
        own.write_bytes(parcel.code)
        request = replace(request, defense=str(own))
    if extra is not None and request.extra_data is not None:
        copy = folder / f"extra-{request.extra_data.name}"
        extra.tofile(copy)
        request = replace(request, extra_data=copy)
    return request


def _bring(composed: Composed, folder: Path, report: Report) -> None:
    """Fetch the data set's files if they are missing; of several runs on a machine one does."""
    if not composed.dataset.files:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".fetching.lock"):
        if any(fetching.condition(file, folder) == "missing" for file in composed.dataset.files):
            fetching.fetch(composed.plan.dataset, composed.dataset, folder, partial(report, "data"))
