"""A run as it travels: what a machine does with it, and what it sends back."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import pytest

from robench_fire.data import fetching
from robench_fire.errors import DataError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.folder_sync import apply
from robench_fire.launching.ray_task import Message, RayTask, work
from robench_fire.launching.seed import run_folder, run_seed
from robench_fire.launching.training_stage import Workplace
from robench_fire.progress import Report
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import Run

DIGITS = Request(defense="fire", dataset="digits", epochs=1)


class Messages(list[Message]):
    """A mailbox that keeps everything."""

    put = list.append


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker process takes over its driver's command and debugging: undone here."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setenv("ROBENCH_DEBUG", "")


def task(request: Request, stage: Any, **changes: Any) -> RayTask:
    folder = run_folder(compose(request), Path("results"), 0).folder.relative_to("results")
    plain = RayTask(
        name="fire seed 0", attempt=2, stage=stage, request=request, seed=0, evaluations=Evaluations(attacks=()),
        folder=folder, output=Path("results"), files={}, code=b"", device="cpu", compiling=None, threads=1, data=None,
        command=("robench", "train"), debug=False,
    )  # fmt: skip
    return replace(plain, **changes)


def test_messages_rebuild_the_run_folder(tmp_path: Path) -> None:
    messages = Messages()
    assert work(task(DIGITS, run_seed), None, messages) is None
    for message in messages:
        assert message[:2] == ("fire seed 0", 2)
        apply(tmp_path / "seed-0", message.change)
    events = [event for message in messages for event in message.events]
    assert events[-1].stage == "done"
    assert any(event.stage == "train" for event in events)
    run = Run(tmp_path / "seed-0")
    assert run.trained
    assert run.read("provenance.json")["sessions"][0]["command"] == "robench train"
    found = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    again = Messages()  # with the files as they are: nothing is left to do
    assert work(task(DIGITS, run_seed, files={f"seed-0/{name}": f for name, f in found.items()}), None, again) is None
    assert not any(message.change.files or message.change.gone for message in again)


def test_a_machine_with_another_plan_is_refused() -> None:
    messages = Messages()
    other = task(DIGITS, run_seed, folder=Path("digits/Linf/fire/0123456789ab/seed-0"))
    error = work(other, None, messages)
    assert "makes another plan of fire" in str(error)
    assert messages[-1].events[-1].stage == "failed"


def fails(request: Request, seed: int, evaluations: Evaluations, place: Workplace, report: Report) -> None:
    raise DataError(f"{place.output}/digits/state.pt cannot be read")


def test_files_are_named_as_their_owner_calls_them() -> None:
    error = work(task(DIGITS, fails), None, Messages())
    assert (type(error), str(error)) == (DataError, "results/digits/state.pt cannot be read")


def test_what_killed_runs_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("robench-run-left", "robench-run-used", "robench-run-new"):
        (tmp_path / name / "runs").mkdir(parents=True)
    (tmp_path / "robench-run-left" / ".held").touch()
    with filelock.FileLock(tmp_path / "robench-run-used" / ".held"):
        work(task(DIGITS, fails), None, Messages())
        assert {path.name for path in tmp_path.iterdir()} == {"robench-run-used", "robench-run-new"}


def notes(request: Request, seed: int, evaluations: Evaluations, place: Workplace, report: Report) -> None:
    (place.data / "noted").write_text(f"{place.device} {place.compiling}")


def test_a_machine_brings_its_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought = []
    monkeypatch.setattr(fetching, "condition", lambda file, folder: "missing")
    monkeypatch.setattr(fetching, "fetch", lambda name, dataset, folder, note: brought.append((name, folder)))
    monkeypatch.setenv("ROBENCH_DATA", str(tmp_path / "own"))
    cifar = Request(defense="trades", dataset="cifar10", arch="wrn-10-1")
    assert work(task(cifar, notes), None, Messages()) is None
    assert work(task(cifar, notes, data=tmp_path / "asked"), None, Messages()) is None
    assert brought == [("cifar10", tmp_path / "own"), ("cifar10", tmp_path / "asked")]
    assert (tmp_path / "own" / "noted").read_text() == "cpu False"
    assert not os.environ["ROBENCH_DEBUG"]
