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
import torch
from numpy.typing import NDArray

from robench_fire import stopping
from robench_fire.data import fetching
from robench_fire.devices.determinism import wanted
from robench_fire.devices.device import resolve
from robench_fire.errors import RobenchError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.folder_sync import Change, apply, changes, marks
from robench_fire.launching.local import attempt
from robench_fire.launching.seed import run_folder
from robench_fire.launching.training_stage import Workplace
from robench_fire.progress import Event, Listen, Report
from robench_fire.runs.compose import Composed, Request, compose

Stage = Callable[[Request, int, Evaluations, Workplace, Report], None]
"""``seed.run_seed`` or ``seed.judge_seed``."""

POST_SECONDS = 0.2  # between two messages of a run
SCRATCH, HELD = "robench-run-", ".held"  # a run's folder on its machine, and the lock in it while it is used


@dataclass(frozen=True, kw_only=True)
class RayTask:
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
    deterministic: bool | None = None


class Message(NamedTuple):
    """How a run gets on: its events, what changed in its folder. ``attempt`` tells a lost machine's late messages."""

    name: str
    attempt: int
    events: list[Event]
    change: Change


def work(task: RayTask, extra: NDArray[Any] | None, messages: Any) -> RobenchError | None:
    """Do a task's run in a folder of this machine's own, posting messages (``messages.put``); its error, if any.

    ``extra``: the bytes of the file of extra data. If Ray cancels it, the run ends after its step, and what it finished
    is posted.
    """
    torch.set_num_threads(task.threads)
    sys.argv = list(task.command)
    os.environ["ROBENCH_DEBUG"] = "1" if task.debug else ""
    with stopping.heeded(signal.SIGINT), _scratch() as scratch:
        output = scratch / "runs"
        apply((output / task.folder).parent, Change(task.files))
        with _posted(task, output / task.folder, messages) as listen:
            return attempt(task.name, partial(_done, task, extra, output), listen)


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
def _posted(task: RayTask, folder: Path, messages: Any) -> Iterator[Listen]:
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
                messages.put(Message(task.name, task.attempt, heard, change))
            if ending:
                return

    with ThreadPoolExecutor(1) as thread:
        posting = thread.submit(post)
        try:
            yield events.append
        finally:
            over.set()
            posting.result()


def _done(task: RayTask, extra: NDArray[Any] | None, output: Path, report: Report) -> None:
    """The task's stage, with files and device of this machine.

    Raises:
        RobenchError: whatever stops the run, its files named as they are called where the run belongs.
    """
    request = _unpacked(task, extra, output.parent)
    composed = compose(request)
    if run_folder(composed, output, task.seed).folder != output / task.folder:
        raise UsageError(
            f"{socket.gethostname()} makes another plan of {task.request.defense}: its robench_fire differs; "
            "install the same version on every machine"
        )
    device = resolve(task.device)
    place = Workplace(
        output=output,
        data=task.data or fetching.data_folder(),
        device=str(device),
        compiling=task.device == "cuda" if task.compiling is None else task.compiling,
        deterministic=wanted(task.deterministic, device),
        threads=task.threads,
    )
    _bring(composed, place.data, report)
    try:
        task.stage(request, task.seed, task.evaluations, place, report)
    except RobenchError as fault:
        raise type(fault)(str(fault).replace(str(output), str(task.output))) from fault


def _unpacked(task: RayTask, extra: NDArray[Any] | None, folder: Path) -> Request:
    """The request with its files in ``folder``."""
    request = task.request
    if task.code:
        own = folder / Path(request.defense).name
        own.write_bytes(task.code)
        request = replace(request, defense=str(own))
    if extra is not None and request.extra_data is not None:
        copy = folder / f"extra-{request.extra_data.name}"
        extra.tofile(copy)
        request = replace(request, extra_data=copy)
    return request


def _bring(composed: Composed, folder: Path, report: Report) -> None:
    """Fetch the data set's files if they are missing; of several runs on a machine one does."""

    def missing() -> bool:
        return any(fetching.condition(file, folder) == "missing" for file in composed.dataset.files)

    if not missing():  # so that a folder which is complete need not be writable
        return
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".fetching.lock"):
        if missing():
            fetching.fetch(composed.plan.dataset, composed.dataset, folder, partial(report, "data"))
