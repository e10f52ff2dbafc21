"""A stand-in for a SLURM queue: what `sbatch FILE` does with a file's #SBATCH lines, its tasks and their signals.

Everything else is the real thing: bash runs the file line by line, and robench is robench.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = {
    "robench": f'exec "{sys.executable}" -m robench_fire "$@"',
    "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"',
    "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": 'echo "$@" >> scontrol.txt',
}


def options(file: Path) -> dict[str, str]:
    """What the #SBATCH lines of a batch file ask for, up to its first command, as SLURM reads them."""
    head = file.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    words = [word for line in head if line.startswith("#SBATCH ") for word in shlex.split(line)[1:]]
    pairs = (word.removeprefix("--").partition("=") for word in words)
    return {name: value for name, _, value in pairs}


class Queue:
    """A folder from which a file is submitted. ``words``: after its name; ``variables``: its environment."""

    def __init__(self, folder: Path, file: Path, *words: str, **variables: str) -> None:
        programs = folder / "programs"
        programs.mkdir()
        for name, body in PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
            (programs / name).chmod(0o755)
        self.folder, self._command, self.asked = folder, ["bash", str(file), *words], options(file)
        self._environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **variables}

    @property
    def requeued(self) -> list[str]:
        """The jobs that asked scontrol to be queued again, oldest first."""
        told = self.folder / "scontrol.txt"
        return [line.removeprefix("requeue ") for line in told.read_text().splitlines()] if told.exists() else []

    def log(self, job: str, task: str = "") -> Path:
        """Where what a task says goes, by the file's own --output."""
        names = {"%x": self.asked["job-name"], "%A": "17", "%a": task, "%j": job}
        return self.folder / re.sub("%[xAaj]", lambda found: names[found[0]], self.asked["output"])

    @contextmanager
    def started(self, job: str, task: str = "", restarts: int = 0) -> Iterator[subprocess.Popen[bytes]]:
        """A task at work, which nothing of is left behind."""
        assert self.asked["open-mode"] == "append"
        own: Mapping[str, str] = {"SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": str(restarts)}
        own = {**own, "SLURM_ARRAY_TASK_ID": task} if task else own
        with self.log(job, task).open("ab") as said:
            begun = subprocess.Popen(
                self._command, cwd=self.folder, env={**self._environment, **own}, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield begun
        finally:
            if begun.poll() is None:
                os.killpg(begun.pid, signal.SIGKILL)
                begun.wait()

    def told(self, job: str, task: str = "") -> str:
        return self.log(job, task).read_text(encoding="utf-8")


def once(happened: object, job: subprocess.Popen[bytes], said: Path) -> None:
    """Wait until a function says that something has happened, while a job goes on."""
    assert callable(happened)
    deadline = time.monotonic() + 100
    while not happened():
        if job.poll() is not None:
            assert happened(), said.read_text(encoding="utf-8")  # at the last moment
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def inside(job: subprocess.Popen[bytes]) -> int:
    """What srun started, which SLURM signals."""
    found = Path(f"/proc/{job.pid}/task/{job.pid}/children")
    if not found.exists():
        pytest.skip("no /proc here that lists a process's children")
    (child,) = found.read_text().split()
    return int(child)
