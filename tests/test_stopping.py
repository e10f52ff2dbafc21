"""Ctrl-C and SIGTERM: work ends between two steps, nothing begins after it, and the same command continues."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from ctypes import c_int
from functools import partial
from pathlib import Path
from typing import Any

import launch_tasks
import numpy as np
import pytest
import torch
from processes import Started, forked, interpreted

from robench_fire import cli, stopping
from robench_fire.devices import workers
from robench_fire.launching.local import launch
from robench_fire.runs.folders import Run, find
from robench_fire.training import saving

pytestmark = pytest.mark.slow

INTERRUPTED = "robench: interrupted; what was done is kept, the same command continues"
STUCK = """
import time
from dataclasses import dataclass
from robench_fire.defenses.trades import DEFENSE as TRADES, PAPER

@dataclass(frozen=True)
class Stuck(type(TRADES)):
    def outer(self, views):
        if len(views.label) > 2:  # not where it is only tried, before anything begins
            time.sleep(600)
        return super().outer(views)

DEFENSE = Stuck()
"""


def ended(command: Started, code: int) -> list[str]:
    """What an interrupted command said before its last line, to stderr; no process of its group may be left."""
    left = command.wait(60)
    with pytest.raises(ProcessLookupError):
        command.send_group(0)
    *said, last = command.stderr.splitlines()
    assert (left, last) == (code, INTERRUPTED)
    return said


Robench = Callable[[str], None]


@pytest.fixture
def robench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robench:
    """Runs a command line in this process, in a folder of the test's own, to a good end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["robench", *words.split()])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        assert not leaving.value.code

    return run


def results(run: Run) -> dict[str, bytes]:
    """Weights and masks, which no interruption may change."""
    return {path.name: path.read_bytes() for path in run.folder.iterdir() if path.suffix in (".safetensors", ".npy")}


SLOW = """
import os
import time
from dataclasses import dataclass
from robench_fire.defenses.madry import DEFENSE as MADRY, PAPER

@dataclass(frozen=True)
class Slow(type(MADRY)):
    def outer(self, views):
        time.sleep(float(os.environ.get("SLOWLY", "0")))  # of an epoch's eleven steps each
        return super().outer(views)

DEFENSE = Slow()
"""
WORDS = "train ./slow.py digits --seeds 3 --epochs 2 --set recipe.attack.steps=2 --set recipe.attack.step=0.1 --no-eval"


@pytest.mark.parametrize(
    ("started", "send", "signum", "code"),
    [(interpreted, Started.send_group, signal.SIGINT, 130), (forked, Started.send, signal.SIGTERM, 75)],
)
def test_training_in_two_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robench: Robench, started: Any,
    send: Callable[[Started, int], None], signum: int, code: int,
) -> None:  # fmt: skip
    (tmp_path / "slow.py").write_text(SLOW)
    monkeypatch.setenv("SLOWLY", "0.2")
    with started(tmp_path, *WORDS.split(), "--jobs", "2") as command:
        command.wait_for(lambda: len(list(tmp_path.rglob("curve.jsonl"))) >= 2)
        before = {run.folder for run in find(tmp_path)}
        send(command, signum)
        said = ended(command, code)
    monkeypatch.delenv("SLOWLY")
    assert all(re.match(r"training: about|\d\d:\d\d:\d\d slow seed", line) for line in said), said
    assert {run.folder for run in find(tmp_path)} == before
    assert not list(tmp_path.rglob(".*.partial"))
    curves = {path: path.read_text() for path in tmp_path.rglob("curve.jsonl")}
    assert any(curve.count("\n") < 2 for curve in curves.values())
    robench(WORDS + " --jobs 1")
    assert all(path.read_text().startswith(curve) for path, curve in curves.items())  # their seconds too
    if signum == signal.SIGINT:
        robench(WORDS + " --jobs 1 --output undisturbed")
        pairs = list(zip(find(tmp_path / "runs"), find(tmp_path / "undisturbed"), strict=True))
        assert len(pairs) == 3
        for run, undisturbed in pairs:
            assert results(run) == results(undisturbed)


def test_killed_within_an_epoch(tmp_path: Path, robench: Robench) -> None:
    """Saved before every step; with no word, no unwinding, and no loss."""
    words = "train trades digits --seeds 1 --epochs 2 --set recipe.attack.steps=4 --no-eval"
    with forked(tmp_path, *words.split(), "--save-every", "0") as command:
        command.wait_for(lambda: list(tmp_path.rglob("state.pt.previous")))
        command.send_group(signal.SIGKILL)
        command.wait(60)
    (run,) = find(tmp_path)
    epochs, steps = saving.reached(saving.read(run.folder / "state.pt", torch.device("cpu")))
    assert epochs or steps
    robench(words)
    robench(f"{words} --output undisturbed")
    assert results(run) == results(next(iter(find(tmp_path / "undisturbed"))))
    assert not [path.name for path in run.folder.iterdir() if "state" in path.name]


def test_evaluation_in_two_processes(tmp_path: Path, robench: Robench) -> None:
    robench("train madry digits --seeds 1 --epochs 1 --no-eval")
    (run,) = find(tmp_path)
    words = f"eval {run.folder} --attack apgd-t --examples 30 --batch-size 5 --jobs"
    with forked(tmp_path, *words.split(), "2") as command:
        command.wait_for(lambda: list(run.folder.glob("*.state")))
        command.send_group(signal.SIGINT)
        said = ended(command, 130)
    assert all(re.match(r"\d\d:\d\d:\d\d madry seed 0: apgd-t 0\.2", line) for line in said), said
    assert not list(run.folder.glob(".*.partial"))
    assert not list(run.folder.glob("*.npy"))
    robench(f"{words} 1")
    (facts,) = run.evaluations()
    assert facts["sessions"] == 2
    (masks,) = run.folder.glob("*.npy")
    first = np.load(masks)
    masks.unlink()
    robench(f"{words} 1")
    assert np.array_equal(first, np.load(masks))


def test_a_second_signal_ends_what_does_not_stop(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    with forked(tmp_path, *"train ./stuck.py digits --seeds 2 --no-eval --jobs 2".split()) as command:
        command.wait_for(lambda: len(list(tmp_path.rglob("provenance.json"))) == 2)
        command.send_group(signal.SIGINT)
        time.sleep(2 * stopping.ECHO)
        command.send_group(signal.SIGINT)
        began = time.monotonic()
        said = ended(command, 130)
    assert time.monotonic() - began < stopping.PATIENCE / 2
    assert all(line.startswith(("training: about", "stuck seed")) for line in said), said


def test_ctrl_c_while_nothing_is_trained_yet(tmp_path: Path) -> None:
    with forked(tmp_path, *"bench digits --jobs 2".split()) as command:
        command.wait_for(lambda: (tmp_path / "runs").exists())  # checked; the estimate follows
        command.send_group(signal.SIGINT)
        ended(command, 130)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process."""
    before = [(signum, signal.getsignal(signum)) for signum in stopping.SIGNALS]
    monkeypatch.setattr(stopping, "_noted", c_int(0))
    monkeypatch.setattr(stopping, "_twice", False)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    stopping.listen()
    yield
    for signum, handler in before:
        signal.signal(signum, handler)


@pytest.mark.usefixtures("listening")
def test_a_signal_waits_for_what_must_not_be_cut() -> None:
    done = []
    with pytest.raises(stopping.Stopped) as stopped, stopping.deferred():  # noqa: PT012
        with stopping.deferred():
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # an echo
        done.append("step")
    assert done == ["step"]
    assert stopped.value.exit_code == 75
    with pytest.raises(stopping.Stopped):
        stopping.check()


@pytest.mark.usefixtures("listening")
def test_a_signal_elsewhere_acts_at_once() -> None:
    with pytest.raises(stopping.Stopped) as stopped:
        signal.raise_signal(signal.SIGINT)
    assert stopped.value.exit_code == 130


SWALLOWED = """
import os, signal
from robench_fire import stopping

class Ends:
    def __init__(self, act):
        self.act = act
    def __del__(self):
        self.act()

stopping.listen()
Ends(lambda: 1 / 0)
Ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
print(stopping.asked())
stopping.over()
"""


def test_a_signal_where_an_object_is_destroyed_is_noted_without_a_word() -> None:
    """Python drops the exception there, and prints it; another one's is still printed."""
    ran = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(int(signal.SIGTERM))]
    assert "ZeroDivisionError" in ran.stderr
    assert "Stopped" not in ran.stderr


@pytest.mark.usefixtures("listening")
def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(stopping, "ECHO", 0.0)
    monkeypatch.setattr(stopping, "UNWINDING", 0.0)
    monkeypatch.setattr(os, "_exit", left.append)
    with pytest.raises(stopping.Stopped), stopping.deferred():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        assert not left
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("a second signal was deferred")
    deadline = time.monotonic() + 10
    while not left and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == [130]  # and what cannot be unwound ends all the same, with the first one's code


@pytest.mark.usefixtures("listening", "forked_workers")
@pytest.mark.parametrize("jobs", [1, 2])
def test_no_task_begins_after_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    monkeypatch.setattr(stopping, "ECHO", 600.0)  # however late the second worker's comes
    each = {name: partial(launch_tasks.stops_its_parent, tmp_path, name, os.getpid()) for name in "abcdef"}
    with pytest.raises(stopping.Stopped):
        launch(each, jobs, lambda event: None)
    begun = {path.name for path in tmp_path.iterdir()}
    assert 1 <= len(begun & set("abcdef")) <= jobs
    assert {f"{name} ended" for name in begun if len(name) == 1} <= begun  # its step, at least


@pytest.mark.usefixtures("listening", "forked_workers")
def test_a_worker_that_does_not_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.5)
    monkeypatch.setattr(stopping, "ECHO", 600.0)
    stuck = partial(launch_tasks.never_ends, tmp_path, os.getpid())
    with pytest.raises(stopping.Stopped):
        launch({"a": stuck, "b": stuck}, 2, lambda event: None)
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_what_ends_while_it_stops_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    finished, cut = Future[str](), Future[str]()
    finished.set_result("unit")
    cut.set_exception(stopping.Stopped(signal.SIGINT))
    monkeypatch.setattr(stopping, "_noted", c_int(signal.SIGINT))
    kept: list[str] = []
    with pytest.raises(stopping.Stopped):  # noqa: PT012
        for future in workers.ended([finished, cut]):
            kept.append(future.result())
    assert kept == ["unit"]
