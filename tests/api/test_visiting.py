"""Calls in somebody's process: Ctrl-C ends the call, never the process, and workers leave the program alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from robench_fire import stopping

SCRIPT = """
from functools import partial
from robench_fire.launching.local import launch
print("begun")
print(launch({str(number): partial(print, number, flush=True) for number in range(3)}, 2, lambda event: None))
"""


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)  # until Python has run its handler


def step(interrupts: int, done: list[str]) -> None:
    """What is interrupted so many times while it must not be cut."""
    with stopping.visiting("said"), stopping.deferred():
        for _ in range(interrupts):
            interrupt()
        done.append("step")
        stopping.check()
        done.append("next")


def test_ctrl_c_waits_for_a_step_that_must_not_be_cut() -> None:
    done, before = list[str](), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="said"):
        step(1, done)
    assert done == ["step"]
    assert not stopping.asked()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ECHO", 0.0)
    done = list[str]()
    with pytest.raises(KeyboardInterrupt):
        step(2, done)
    assert not done
    assert not stopping.asked()


def test_an_interrupted_call_does_not_stop_the_next() -> None:
    with pytest.raises(KeyboardInterrupt), stopping.visiting("said"):
        interrupt()
    with stopping.visiting("said"):
        stopping.check()


def test_other_threads_change_no_handler() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def call() -> None:
        with stopping.visiting("said"):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.slow
def test_a_script_needs_no_guard_around_its_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120)
    assert ran.stdout.count("begun") == 1, ran.stderr
    assert ran.stdout.splitlines()[-1] == "{}"
