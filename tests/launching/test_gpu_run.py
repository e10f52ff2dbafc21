"""benchmarks/gpu.py, rehearsed on a CPU: its phases in miniature, what it keeps, and what ends or outlives it."""

from __future__ import annotations

import argparse
import json
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from figures_gpu import EMPTY, gpu
from repository import ROOT

pytestmark = pytest.mark.slow

SCRIPT = [sys.executable, str(ROOT / "benchmarks" / "gpu.py")]
MINIATURE = ["--device", "cpu", "--tiny"]
CHEAP = "precision-training"  # nothing of it takes long


def run(folder: Path, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The script in another folder than the checkout, as it is run where the package is installed."""
    places = ["--out", str(folder / "out"), "--work", str(folder / "work")]
    said = subprocess.run([*SCRIPT, *options, *places], cwd=folder, capture_output=True, text=True)
    assert said.returncode == code, said.stderr
    return said


def kept(folder: Path) -> dict[str, Any]:
    (file,) = (folder / "out").glob("*.json")
    phases: dict[str, Any] = json.loads(file.read_text())["phases"]
    return phases


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where several tests run phases, so that what one made another goes on with."""
    return tmp_path_factory.mktemp("gpu")


@pytest.mark.parametrize(
    "phases",
    [["environment", "tests"], ["end-to-end", "autoattack"], ["speed-resnet-18", "agreement", "together"],
     [CHEAP, "two-processes", "row-trades"]],
    ids=lambda phases: phases[0],
)  # fmt: skip
def test_phases_in_miniature(folder: Path, phases: list[str]) -> None:
    run(folder, *MINIATURE, "--only", *phases)
    found = kept(folder)
    for name in phases:
        assert found[name]["error"] is None, found[name]
        assert {"device", "driver", "torch", "commit", "command", "seconds", "result"} <= set(found[name])


def test_what_is_done_is_skipped_and_two_files_are_kept(folder: Path) -> None:
    before = kept(folder)
    assert CHEAP in before
    said = run(folder, *MINIATURE, "--budget", "16s")
    assert f"{CHEAP}:" not in said.stderr
    assert {name: each["started"] for name, each in before.items()}.items() <= {
        name: each["started"] for name, each in kept(folder).items()
    }.items()
    assert sorted(path.suffix for path in (folder / "out").iterdir()) == [".gz", ".json"]
    (archive,) = (folder / "out").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert any(name.endswith("logs/end-to-end.log") for name in names)
    assert any(name.endswith("train.json") for name in names)
    assert not any(name.endswith((".safetensors", ".pt")) for name in names)


def test_the_list_says_what_is_done(folder: Path) -> None:
    said = run(folder, "--list").stdout
    assert "row-fire" in said
    assert "-tiny" in said


def test_a_failing_phase_is_recorded_and_the_next_one_runs(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (work,) = (tmp_path / "work").glob("*-tiny")
    shutil.rmtree(work / "rows")
    (work / "rows").write_text("no folder")
    before = kept(tmp_path)[CHEAP]["started"]
    run(tmp_path, *MINIATURE, "--only", "row-trades", CHEAP)
    found = kept(tmp_path)
    assert found["row-trades"]["state"] == "failed"
    assert "exit 1" in found["row-trades"]["error"]
    assert any("rows" in line for line in found["row-trades"]["said"])
    assert found[CHEAP]["state"] == "done"
    assert found[CHEAP]["started"] > before


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    assert "no such GPU" in run(tmp_path, code=2).stderr
    assert "--tiny" in run(tmp_path, "--device", "cpu", code=2).stderr
    assert not (tmp_path / "out").exists()


def test_a_signal_ends_it_and_what_it_started(tmp_path: Path) -> None:
    command = [*SCRIPT, *MINIATURE, "--only", "end-to-end", "--out", str(tmp_path / "out"), "--work", str(tmp_path)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as child:
        while not list(tmp_path.rglob("end-to-end.log")):
            assert child.poll() is None
            time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 75
    assert not (tmp_path / "out").exists()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What benchmarks/gpu.py defines."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return runpy.run_path(SCRIPT[1])


def test_what_cannot_be_run_says_why(script: dict[str, Any]) -> None:
    phases = {each.name: each for each in script["PHASES"]}
    why, large = script["why_not"], phases["speed-wrn-34-10-512"]
    assert why(large, 80e9, True, False) == "takes 115 GB of the device's memory, 80.0 GB are free"
    assert why(large, 140e9, False, False).startswith("CIFAR-10 is not in the data folder yet")
    assert why(large, 140e9, True, False) is None
    assert why(phases["tests"], 140e9, False, False) is None


def test_the_budget_is_shared_out(script: dict[str, Any]) -> None:
    assert [script["seconds"](text) for text in ("14m", "500s", "2h", "90")] == [840, 500, 7200, 90]
    with pytest.raises(argparse.ArgumentTypeError, match="write a budget like 14m"):
        script["seconds"]("soon")
    tests, *_, trades, fire = script["PHASES"]
    assert script["limit"](tests, 1000.0, [tests, trades, fire]) == tests.limit
    assert script["limit"](trades, 1000.0, [trades, fire]) == 500
    assert script["limit"](fire, 500.0, [fire]) == 500


def test_classes_are_kept_apart(script: dict[str, Any]) -> None:
    names = [script["class_of"]({"device": name}, False) for name in ("NVIDIA H100 80GB HBM3", "NVIDIA H200")]
    assert names == ["nvidia-h100-80gb-hbm3", "nvidia-h200"]
    assert script["class_of"]({"device": "NVIDIA H200"}, True) == "nvidia-h200-tiny"


def test_what_cannot_be_written_is_printed(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    script["keep"](tmp_path / "file" / "nvidia-h200.json", {"tests": {"state": "done"}})
    said = capsys.readouterr().out
    assert "cannot be written" in said
    assert json.loads(said.partition("it would hold:\n")[2])["phases"] == {"tests": {"state": "done"}}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "nvidia-h200.json").write_text("{half")
    assert "nvidia-h200.json cannot be read (JSONDecodeError)" in run(tmp_path, "--list", code=2).stderr


def results(folder: Path, name: str, **changes: Any) -> None:
    """A file as the script writes it for a GPU."""
    step = {"released": 0.3, "ours bf16": 0.1}
    speed = {"arch": "resnet-18", "batch": 256, "fire": step, "trades": step, "FLOPs of an update": 8e12,
             "matmul FLOP/s": {"bf16": 4e14}, "peak MB": {"ours bf16": 5000.0}}  # fmt: skip
    common = {"kind": "cuda", "device": "NVIDIA H100", "tiny": False, **changes}
    phases = {
        "speed-resnet-18": {**common, "state": "done", "result": speed},
        "autoattack": {**common, "state": "failed", "result": None},
        "speed-wrn-34-10": {**common, "state": "skipped", "result": None},
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"format": 1, "device_class": name, "phases": phases}))


def test_the_page_shows_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    assert {gpu(tmp_path).count(each) for each in ("goal", "any GPU")} == {1}
    empty = gpu(tmp_path).count(EMPTY)
    results(tmp_path, "cpu", kind="cpu")
    results(tmp_path, "tiny", tiny=True)
    assert gpu(tmp_path).count(EMPTY) == empty
    results(tmp_path, "nvidia-h100")
    shown = gpu(tmp_path)
    assert "| FIRE, ResNet-18, batch 256 | 3x, MFU 30 % | 3.00x, MFU 20 %, 2,560 images/s, 5.0 GB |" in shown
    assert "| NVIDIA H100, ResNet-18, batch 256 | FIRE | ratio | TRADES | ratio |" in shown
    assert "| AutoAttack on 512 images, to pyautoattack | 3x, same verdicts | failed |" in shown
    assert shown.count(EMPTY) == empty - 2
