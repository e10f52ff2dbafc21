"""Tasks for test_launch.py, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from robench_fire.errors import DataError
from robench_fire.reporting import Report


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
