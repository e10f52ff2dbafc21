"""The files for SLURM that the pages show run: everything in them but SLURM's own programs is the real thing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from batch_queue import Queue, inside, once
from command_line import ran
from filelock import FileLock
from repository import ROOT

FILES = ROOT / "docs" / "slurm"
SHORT = ["--examples", "20", "--device", "cpu", "--attack", "pgd20"]
QUICK = ["--set", "recipe.attack.steps=1", "--set", "recipe.attack.step=0.2"]
ONE_EPOCH = ["--epochs", "1", *QUICK, "--no-eval", "--device", "cpu"]


def _curves(folder: Path, seed: int = 0) -> list[Path]:
    return list(folder.glob(f"runs/digits/Linf/fire/*/seed-{seed}/curve.jsonl"))


def _held(folder: Path, seed: int) -> bool:
    """Whether somebody holds a seed and has said so."""
    return any(path.stat().st_size for path in folder.rglob(f"seed-{seed}/.lock.by"))


@pytest.mark.slow
def test_an_array_whose_time_is_up_finishes(tmp_path: Path) -> None:
    """Two tasks side by side in one folder; one is signalled, exits with 75, is queued again, and goes on."""
    queue = Queue(tmp_path, FILES / "array.sbatch", "--epochs", "24", *QUICK, *SHORT, DATASET="digits")
    assert (queue.asked["array"], queue.asked["signal"]) == ("0-4", "TERM@120")
    with ExitStack() as both:
        first, other = (both.enter_context(queue.started(str(17 + task), str(task))) for task in (0, 1))
        once(lambda: _curves(tmp_path), first, queue.log("17", "0"))
        os.kill(inside(first), signal.SIGTERM)  # srun became robench, and SLURM signals what srun started
        assert first.wait() == 75, queue.told("17", "0")
        assert queue.requeued == ["17"]
        begun = _curves(tmp_path)[0].read_text(encoding="utf-8")
        with queue.started("17", "0", restarts=1) as again:
            assert again.wait() == 0, queue.told("17", "0")
        assert other.wait() == 0, queue.told("18", "1")
    assert queue.requeued == ["17"]
    (plan,) = (tmp_path / "runs" / "digits" / "Linf" / "fire").iterdir()  # one folder, shared by both
    assert {seed.name for seed in plan.glob("seed-*") if list(seed.glob("eval.pgd20-*.json"))} == {"seed-0", "seed-1"}
    curve = (plan / "seed-0" / "curve.jsonl").read_text(encoding="utf-8")
    assert curve.startswith(begun)
    assert len(begun.splitlines()) < len(curve.splitlines()) == 24
    said = queue.told("17", "0")  # one log of both, with times of day
    assert said.index("interrupted; what was done is kept") < said.index("of 5 seeds")


def test_a_task_that_comes_to_nothing_is_not_queued_for_ever(tmp_path: Path) -> None:
    queue = Queue(tmp_path, FILES / "array.sbatch", REQUEUES="1")
    (tmp_path / "programs" / "robench").write_text("#!/bin/bash\nexit 75\n", encoding="utf-8")
    for restarts in (0, 1):
        with queue.started("17", "0", restarts) as task:
            assert task.wait() == 75
    assert queue.requeued == ["17"]


@pytest.mark.slow
def test_two_tasks_with_one_seed(tmp_path: Path) -> None:
    """The one that came first is held at work, as long as the other one needs to hear of it."""
    queue = Queue(tmp_path, FILES / "array.sbatch", *ONE_EPOCH, DATASET="digits")
    with queue.started("17", "3") as first:
        once(lambda: _held(tmp_path, 3), first, queue.log("17", "3"))
        os.kill(holder := inside(first), signal.SIGSTOP)
        with queue.started("18", "3") as other:
            assert other.wait() == 2
        last = queue.told("18", "3").splitlines()[-1]
        os.kill(holder, signal.SIGCONT)
        assert first.wait() == 0, queue.told("17", "3")
    assert re.search(rf"seed-3 is in use by another process \({holder} on \S+ since [\d :+-]+\); wait for it", last)
    assert queue.requeued == []


@pytest.mark.slow
def test_a_step_that_takes_longer_than_what_is_left(tmp_path: Path) -> None:
    """SLURM ends the job by itself, script and all; the same command comes to its end."""
    queue = Queue(tmp_path, FILES / "array.sbatch", *ONE_EPOCH, DATASET="digits")
    with queue.started("17", "0") as task:
        once(lambda: _held(tmp_path, 0), task, queue.log("17", "0"))
        os.kill(held := inside(task), signal.SIGSTOP)  # in a step that does not end
        os.kill(held, signal.SIGTERM)
        os.killpg(task.pid, signal.SIGKILL)
        assert task.wait() == -signal.SIGKILL
    assert queue.requeued == []
    (lock,) = tmp_path.rglob("seed-0/.lock")
    with FileLock(lock, timeout=60):  # until what was killed has let go of it
        pass
    ran(tmp_path, "train", "fire", "digits", "--seed", "0", *ONE_EPOCH)


def test_an_index_is_the_seed(tmp_path: Path) -> None:
    """Also one that is higher than the array was meant to be."""
    queue = Queue(tmp_path, FILES / "array.sbatch", "--epochs", "50")
    (tmp_path / "programs" / "robench").write_text('#!/bin/bash\necho "$@"\n', encoding="utf-8")
    with queue.started("17", "12") as task:
        assert task.wait() == 0
    assert queue.told("17", "12").split() == "train fire cifar10 --seed 12 --epochs 50".split()


def test_an_index_that_is_no_seed(tmp_path: Path) -> None:
    queue = Queue(tmp_path, FILES / "array.sbatch", DATASET="digits")
    with queue.started("17", "-1") as task:
        assert task.wait() == 2
    assert "Invalid value for '--seed'" in queue.told("17", "-1")
    assert queue.requeued == []
    assert not (tmp_path / "runs").exists()


def test_the_array_file_outside_an_array(tmp_path: Path) -> None:
    queue = Queue(tmp_path, FILES / "array.sbatch")
    with queue.started("17") as task:
        assert task.wait() not in (0, 75)
    assert (
        queue.told("17").strip().endswith("SLURM_ARRAY_TASK_ID: is not set: this is a job array, submit it with sbatch")
    )


@pytest.mark.slow
def test_a_job_on_several_devices_is_queued_again(tmp_path: Path) -> None:
    words = ["--epochs", "2000", "--seeds", "1", *SHORT]
    queue = Queue(tmp_path, FILES / "torchrun.sbatch", *words, DATASET="digits", PROCESSES="2")
    with queue.started("17") as job:
        once(lambda: _curves(tmp_path), job, queue.log("17"))
        os.kill(job.pid, signal.SIGTERM)  # SLURM signals the script (B:)
        assert job.wait() == 75, queue.told("17")
    assert queue.requeued == ["17"]


@pytest.mark.parametrize(
    ("ends_with", "restarts", "code", "again"), [(0, 0, 0, []), (1, 0, 75, ["17"]), (1, 50, 1, [])]
)
def test_a_job_that_ended_or_was_queued_often_is_not_queued_again(
    tmp_path: Path, ends_with: int, restarts: int, code: int, again: list[str]
) -> None:
    queue = Queue(tmp_path, FILES / "torchrun.sbatch")
    body = f"#!/bin/bash\ntrap '' TERM\ntouch begun\nwhile [ ! -e go ]; do sleep 0.02; done\nexit {ends_with}\n"
    (tmp_path / "programs" / "torchrun").write_text(body, encoding="utf-8")
    with queue.started("17", restarts=restarts) as job:
        once(lambda: (tmp_path / "begun").exists(), job, queue.log("17"))
        os.kill(job.pid, signal.SIGTERM)
        (tmp_path / "go").touch()
        assert job.wait() == code, queue.told("17")
    assert queue.requeued == again


def test_files_are_plain_bash() -> None:
    files = sorted(FILES.glob("*.sbatch"))
    assert len(files) == 2
    for file in files:
        assert subprocess.run(["bash", "-n", str(file)], check=False).returncode == 0
