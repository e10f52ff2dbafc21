"""The files for SLURM that the pages show run: everything in them but SLURM's own programs is the real thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from repository import ROOT

pytestmark = pytest.mark.slow
FILES = ROOT / "docs" / "slurm"
SHORT = ["--epochs", "1", "--examples", "20", "--device", "cpu", "--attack", "pgd20"]
PROGRAMS = {
    "robench": f'exec "{sys.executable}" -m robench_fire "$@"',
    "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"',
    "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": 'echo "$@" > scontrol.txt',
}


def _environment(folder: Path, **variables: str) -> dict[str, str]:
    programs = folder / "programs"
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    found = f"{programs}:{os.environ['PATH']}"
    return {**os.environ, "PATH": found, "DATASET": "digits", "SLURM_JOB_ID": "17", **variables}


@contextmanager
def _started(folder: Path, name: str, *words: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A file at work; what it said is in said.txt, and nothing of it is left behind."""
    command = ["bash", str(FILES / name), *SHORT, *words]
    with (folder / "said.txt").open("w") as said:
        environment = _environment(folder, **variables)
        job = subprocess.Popen(command, cwd=folder, env=environment, stderr=said, start_new_session=True)
        try:
            yield job
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()


def _ended(folder: Path, job: subprocess.Popen[bytes], code: int) -> None:
    assert job.wait() == code, (folder / "said.txt").read_text(encoding="utf-8")


def test_a_task_of_the_array_trains_its_seed(tmp_path: Path) -> None:
    with _started(tmp_path, "array.sbatch", METHOD="trades", SLURM_ARRAY_TASK_ID="3") as task:
        _ended(tmp_path, task, 0)
    (seed,) = (tmp_path / "runs" / "digits" / "Linf" / "trades").glob("*/seed-*")
    assert seed.name == "seed-3"
    assert (seed / "weights.safetensors").exists()
    assert not (tmp_path / "scontrol.txt").exists()


def test_a_task_whose_time_is_up_is_queued_again(tmp_path: Path) -> None:
    with _started(tmp_path, "array.sbatch", "--epochs", "2000", SLURM_ARRAY_TASK_ID="0") as task:
        _once_training(tmp_path, task)
        (inside,) = _children(task.pid)  # srun became robench, and SLURM signals what srun started
        os.kill(inside, signal.SIGTERM)
        _ended(tmp_path, task, 75)
    assert (tmp_path / "scontrol.txt").read_text(encoding="utf-8") == "requeue 17\n"


def test_a_job_on_several_devices_is_queued_again(tmp_path: Path) -> None:
    with _started(tmp_path, "torchrun.sbatch", "--epochs", "2000", "--seeds", "1", PROCESSES="2") as job:
        _once_training(tmp_path, job)
        os.kill(job.pid, signal.SIGTERM)  # SLURM signals the script (B:)
        _ended(tmp_path, job, 75)
    assert (tmp_path / "scontrol.txt").read_text(encoding="utf-8") == "requeue 17\n"


def _once_training(folder: Path, job: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 100
    while not list(folder.glob("runs/digits/Linf/fire/*/seed-0/curve.jsonl")):
        assert job.poll() is None, (folder / "said.txt").read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("no /proc here that lists a process's children")
    return [int(child) for child in found.read_text().split()]
