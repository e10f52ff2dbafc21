"""Run folders: found in order, their stages, and one process at a time works on each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import listed

from robench_fire.errors import DataError, UsageError
from robench_fire.files import sha256
from robench_fire.problem.settings import to_plain
from robench_fire.runs import folders
from robench_fire.runs.compose import Request, plan_of
from robench_fire.runs.folders import Run

PLAN = to_plain(plan_of(Request(defense="fire", dataset="digits", epochs=20)))


def made(folder: Path, *names: str) -> Run:
    """A run folder with a plan and further (empty) files."""
    folder.mkdir(parents=True)
    run = Run(folder)
    run.write("plan.json", PLAN)
    for name in names:
        (folder / name).touch()
    return run


def test_runs_are_found_in_the_order_of_their_seeds(tmp_path: Path) -> None:
    for seed in (10, 0, 2, 1):
        made(tmp_path / "digits" / "Linf" / "trades" / "abc" / f"seed-{seed}")
    made(tmp_path / "digits" / "Linf" / "fire" / "abc" / "seed-3")
    made(tmp_path / "cifar10" / "Linf" / "trades" / "abc" / "seed-0")
    (tmp_path / "digits" / "Linf" / "trades" / "abc" / "seed-5").mkdir()
    (tmp_path / "notes.txt").touch()
    found = [(run.folder.parts[-5], run.folder.parts[-3], run.seed) for run in folders.find(tmp_path)]
    assert found == [
        ("cifar10", "trades", 0),
        ("digits", "fire", 3),
        ("digits", "trades", 0),
        ("digits", "trades", 1),
        ("digits", "trades", 2),
        ("digits", "trades", 10),
    ]


@pytest.mark.parametrize("name", ["seed-0-old", "seed-", "seed-best", "seed--1", "seed-0.5", "seed-²", "my-seed-1"])
def test_a_folder_that_is_named_for_no_seed_is_no_run(tmp_path: Path, name: str) -> None:
    for folder in ("seed-1", name, "seed-0"):
        made(tmp_path / folder)
    assert [run.folder.name for run in folders.find(tmp_path)] == ["seed-0", "seed-1"]


def test_a_run_folder_is_found_by_itself(tmp_path: Path) -> None:
    run = made(tmp_path / "seed-7")
    assert folders.find(run.folder) == [run]
    assert folders.find(tmp_path) == [run]
    assert run.seed == 7


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folders.find(tmp_path) == folders.find(tmp_path / "absent") == folders.find(tmp_path / "file") == []


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Run(tmp_path).read("train.json")
    assert str(caught.value) == f"{tmp_path / 'train.json'} is missing"


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}}', b"\xff\xfe", b"not json"])
def test_a_broken_stage_is_named_with_the_fix(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.json").write_bytes(content)
    with pytest.raises(DataError) as caught:
        Run(tmp_path).read("train.json")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'train.json'} is no")
    assert message.endswith("); move it away and run the same command again")


def test_a_stage_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.json").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError) as caught:
        Run(tmp_path).read("train.json")
    assert str(caught.value) == f"{tmp_path / 'train.json'} cannot be read: Is a directory"
    with pytest.raises(DataError) as caught:
        Run(tmp_path / "file").read("train.json")
    assert str(caught.value) == f"{tmp_path / 'file' / 'train.json'} cannot be read: Not a directory"


@pytest.mark.parametrize(
    ("content", "kind"), [("[1, 2]", "list"), ("3", "int"), ('"text"', "str"), ("null", "NoneType")]
)
def test_a_stage_that_is_no_object_is_refused(tmp_path: Path, content: str, kind: str) -> None:
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(DataError, match=f"holds a {kind} where an object was expected"):
        Run(tmp_path).read("train.json")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = made(tmp_path / "seed-0")
    value = {"epochs": 3, "ε": [0.5, None, True], "nested": {"text": "8/255"}}
    run.write("stage.json", value)
    assert run.read("stage.json") == value


def test_a_run_is_trained_once_its_last_file_is_there(tmp_path: Path) -> None:
    run = made(tmp_path / "seed-0")
    run.weights.touch()
    assert not run.trained
    (run.folder / "train.json").touch()
    assert run.trained
    run.weights.unlink()  # carried elsewhere
    assert run.trained


def evaluation(attack: str, robust: float, examples: int) -> dict[str, Any]:
    facts = {"attack": attack, "norm": "Linf", "eps": "0.2", "seed": 0, "batch_size": 500, "clean": 90.0}
    return facts | {"robust": robust, "examples": examples, "weights_sha256": "0"}


def train(run: Run) -> None:
    run.weights.touch()
    run.write("train.json", {"seconds": 1.0, "weights_sha256": "0"})


def test_the_status_says_how_far_a_run_got(tmp_path: Path) -> None:
    run = made(tmp_path / "seed-0")
    assert run.status() == "0 of 20 epochs"
    run.write_curve([{"epoch": 1.0, "loss": 2.3}, {"epoch": 2.0, "loss": 1.9}])
    assert run.status() == "2 of 20 epochs"
    train(run)
    assert run.status() == "trained, not evaluated"
    run.write("eval.pgd20-Linf-0.2-300.json", evaluation("pgd20", 51.234, 300))
    assert run.status() == "pgd20 51.23 (300)"
    run.write("eval.aa-Linf-0.2-300.json", evaluation("aa", 48.0, 300))
    assert run.status() == "aa 48.00 (300), pgd20 51.23 (300)"
    run.weights.unlink()
    assert run.status() == "aa 48.00 (300), pgd20 51.23 (300), its weights are not here"


def test_the_curve_is_one_object_a_line(tmp_path: Path) -> None:
    run = made(tmp_path / "seed-0")
    rows = [{"epoch": 1.0, "loss": 2.3}, {"epoch": 2.0, "loss": 1.9}]
    run.write_curve(rows)
    lines = (run.folder / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_curve_that_is_not_json_is_refused_and_changes_nothing(tmp_path: Path, number: float) -> None:
    run = made(tmp_path / "seed-0")
    run.write_curve([{"epoch": 1.0, "loss": 2.3}])
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_curve([{"epoch": 1.0, "loss": 2.3}, {"epoch": 2.0, "loss": number}])
    assert (run.folder / "curve.jsonl").read_text() == '{"epoch": 1.0, "loss": 2.3}\n'
    assert listed(run.folder) == {"plan.json", "curve.jsonl"}


def test_an_evaluation_is_its_masks_and_its_result(tmp_path: Path) -> None:
    masks = np.array([[True, True, False], [True, False, False]])
    stem = tmp_path / "eval.aa-Linf-8_255-3"
    folders.write_evaluation(stem, masks, evaluation("aa", 33.33, 3))
    assert listed(tmp_path) == {"eval.aa-Linf-8_255-3.npy", "eval.aa-Linf-8_255-3.json"}
    assert np.array_equal(np.load(tmp_path / "eval.aa-Linf-8_255-3.npy", allow_pickle=False), masks)
    assert Run(tmp_path).evaluations() == []  # not trained: nobody knows whose these are
    train(Run(tmp_path))
    (found,) = Run(tmp_path).evaluations()
    assert found.pop("masks_sha256") == sha256(tmp_path / "eval.aa-Linf-8_255-3.npy")
    assert found == evaluation("aa", 33.33, 3)
    Run(tmp_path).write("train.json", {"seconds": 1.0, "weights_sha256": "1"})
    assert Run(tmp_path).evaluations() == []


@pytest.mark.parametrize(
    ("step", "left"),
    [("numpy.save", set()), ("robench_fire.runs.folders.write_json", {"eval.aa.npy"})],
)
def test_an_evaluation_is_complete_only_with_its_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, left: set[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space left"):
        folders.write_evaluation(tmp_path / "eval.aa", np.zeros((2, 3), bool), evaluation("aa", 0.0, 3))
    assert listed(tmp_path) == left
    assert Run(tmp_path).evaluations() == []


@contextmanager
def other_process(lock: Path) -> Iterator[None]:
    """Another process that holds a lock file until the body is done."""
    lock.parent.mkdir(parents=True)
    code = f"import filelock\nwith filelock.FileLock({str(lock)!r}):\n    print('held', flush=True)\n    input()\n"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate("\n")


def test_a_run_that_another_process_works_on_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "seed-0")
    with other_process(run.folder / ".lock"):
        with pytest.raises(UsageError) as caught, run.locked():
            pass
        assert str(caught.value) == f"{run.folder} is in use by another process; wait for it, or choose --output"
        with Run(tmp_path / "runs" / "seed-1").locked():
            pass
    with run.locked():
        pass


def test_a_run_is_not_locked_twice(tmp_path: Path) -> None:
    """Who holds it is said: its process, machine, and since when."""
    run = Run(tmp_path / "seed-0")
    who = rf"is in use by another process \({os.getpid()} on {socket.gethostname()} since 20\d\d-[\d :+-]+\); wait"
    with run.locked(), pytest.raises(UsageError, match=who), run.locked():
        pass
    assert [path.name for path in run.folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("fault", [ValueError("wrong"), PermissionError(13, "elsewhere"), KeyboardInterrupt()])
def test_what_happens_under_the_lock_is_passed_on_and_unlocks(tmp_path: Path, fault: BaseException) -> None:
    run = Run(tmp_path / "new" / "seed-0")
    with pytest.raises(type(fault)) as caught, run.locked():
        raise fault
    assert caught.value is fault
    with run.locked():
        pass


@pytest.mark.parametrize("taken", ["runs", "runs/seed-0"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("a file, not a folder")
    run = Run(tmp_path / "runs" / "seed-0")
    with pytest.raises(UsageError, match=f"cannot write {run.folder}: .*; choose another --output"), run.locked():
        pass


@pytest.mark.parametrize(("select", "kept"), [("last", (93.0, 40.0)), ("validation", (92.0, 50.0))])
def test_validation_accuracy_is_that_of_the_epoch_that_is_kept(
    tmp_path: Path, select: str, kept: tuple[float, float]
) -> None:
    """Of equal epochs the last, as in training."""
    run = made(tmp_path / "seed-0")
    run.write("plan.json", PLAN | {"recipe": PLAN["recipe"] | {"select": select}})
    with pytest.raises(DataError, match=r"curve\.jsonl is missing"):
        run.validation()
    curve = [{"loss": 1.0, "clean": clean, "robust": robust} for clean, robust in ((91, 50), (92, 50), (93, 40))]
    run.write_curve(curve)
    assert run.validation() == dict(zip(("clean", "robust"), kept, strict=True))
    run.write_curve([{"loss": 1.0, "clean": 97.0}])
    assert run.validation() == {"clean": 97.0}


def test_a_json_that_was_changed_is_refused(tmp_path: Path) -> None:
    run = made(tmp_path / "seed-0")
    run.write("train.json", known := {"seconds": 1.5, "weights_sha256": "0"})
    assert run.read("train.json") == known
    path = run.folder / "train.json"
    path.write_text(path.read_text(encoding="utf-8").replace("1.5", "1.6"), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"train\.json was changed after it was written: its seal is \w+, its values giv"
    ):
        run.read("train.json")


def test_a_json_of_before_there_were_seals_is_read(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"seconds": 1.5}', encoding="utf-8")
    assert folders.read_sealed(tmp_path / "old.json") == ({"seconds": 1.5}, False)


def test_files_that_go_meanwhile_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path / "seed-0", "plan.json", "curve.jsonl")
    listed_ = [(str(run.folder), [], ["plan.json", "curve.jsonl", ".eval.7.partial"])]
    monkeypatch.setattr("os.walk", lambda *_, **__: iter(listed_))
    assert {path.name for path, _ in run.progress()} == {"curve.jsonl"}
