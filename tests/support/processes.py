"""Processes that tests start, which get real signals: in a new interpreter, or forked from one, which begins at once.

A new interpreter takes four seconds until torch and all that trains and attacks is imported.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

FORKS = multiprocessing.get_context("forkserver")
PRELOADED = [
    "torch._dynamo",  # which the first optimiser imports
    "torch.distributed.run",
    "robench_fire.cli.measure",
    "robench_fire.cli.attack",
    "robench_fire.datasets.digits",
    "robench_fire.evaluation.resumable",
    "robench_fire.launching.bench",
    "robench_fire.launching.distributed",
    "robench_fire.training.engine",
    *"pydantic.type_adapter typer._adapters rich.progress scipy.stats".split(),  # which commands import late
]
FORKS.set_forkserver_preload(PRELOADED)


class Started:
    """A command at work, the first process of a group of its own."""

    def __init__(self, pid: int, poll: Callable[[], int | None], told: Path) -> None:
        self.pid, self.poll, self._told = pid, poll, told

    @property
    def stdout(self) -> str:
        return (self._told / "1").read_text()

    @property
    def stderr(self) -> str:
        said = self._told / "2"  # not there yet, if it was killed at once
        return said.read_text() if said.exists() else ""

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Until something has happened that it is to do."""
        deadline = time.monotonic() + 100
        while not happened():
            if self.poll() is not None:
                assert happened(), self.stderr  # at the last moment
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def send(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def send_group(self, signum: int) -> None:
        """As a terminal and a batch system do."""
        os.killpg(self.pid, signum)

    def wait(self, seconds: float = 120) -> int:
        """Its exit code, or minus the signal that killed it."""
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.01)
        return code


def _nothing() -> None:
    pass


@contextmanager
def interpreted(folder: Path, *words: str, module: str = "robench_fire") -> Iterator[Started]:
    """``python -m MODULE WORDS`` in ``folder``; killed when the body is left."""
    with tempfile.TemporaryDirectory() as told, open(f"{told}/1", "w") as out, open(f"{told}/2", "w") as err:
        line = [sys.executable, "-m", module, *words]
        process = subprocess.Popen(line, cwd=folder, env=_environment(), stdout=out, stderr=err, start_new_session=True)
        with _killed_at_last(started := Started(process.pid, process.poll, Path(told))):
            yield started


@contextmanager
def forked(
    folder: Path, *words: str, module: str = "robench_fire", begin: Callable[[], None] = _nothing
) -> Iterator[Started]:
    """The same in a process that has everything imported, and calls ``begin`` first."""
    with tempfile.TemporaryDirectory() as told:
        process: Any = FORKS.Process(target=_run, args=(module, words, folder, told, _environment(), begin))
        process.start()
        with _killed_at_last(started := Started(process.pid, lambda: process.exitcode, Path(told))):
            yield started


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@contextmanager
def _killed_at_last(started: Started) -> Iterator[None]:
    try:
        yield
    finally:
        if started.poll() is None:
            started.send(signal.SIGKILL)
        with suppress(ProcessLookupError):  # none of its workers is left either
            started.send_group(signal.SIGKILL)
        started.wait()


def _run(
    name: str, words: tuple[str, ...], folder: Path, told: str, environment: dict[str, str], begin: Callable[[], None]
) -> None:
    """What an interpreter does from its start to its end."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the process that this one was forked from may hear nothing
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(os.open(f"{told}/{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    torch.set_num_threads(1)  # which it has read from the environment before
    module: Any = import_module(name)
    module = module if hasattr(module, "main") else import_module(f"{name}.__main__")
    sys.modules["__main__"], sys.argv = module, [module.__file__, *words]  # the former is what workers import, too
    code = 0
    begin()
    try:
        module.main()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)
