"""Tasks for test_launch.py, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from robench_fire import stopping
from robench_fire.errors import DataError
from robench_fire.progress import Report


def good(folder: Path, name: str, report: Report) -> None:
    for step in range(30):
        report("train", step, 30, "")
    (folder / name).touch()


def refuses(report: Report) -> None:
    raise DataError("the file is altered")


def fails(report: Report) -> None:
    raise RuntimeError("CUDA out of memory\nand a long tale")


def dies_once(folder: Path, report: Report) -> None:
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def dies(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stops_its_parent(folder: Path, name: str, parent: int, report: Report) -> None:
    with stopping.deferred():
        (folder / name).touch()
        os.kill(parent, signal.SIGINT)
        while not stopping.asked():
            time.sleep(0.01)
        (folder / f"{name} ended").touch()
        stopping.check()


def never_ends(folder: Path, parent: int, report: Report) -> None:
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.01)
    os.kill(parent, signal.SIGINT)
    time.sleep(600)
