"""What a stranger needs to redo a run: versions, hardware, commit, command."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("robench-fire", "torch", "torchvision", "robustbench", "pyautoattack", "timm", "numpy")


def versions() -> dict[str, str]:
    """Installed versions of the packages that can change a number; "absent" where one is missing."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def device_name(device: torch.device) -> str:
    """The accelerator's or processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    """The checkout's commit, "-dirty" where it has changes; empty for an installed package."""
    home = Path(__file__).parent
    git = ["git", "-C", str(home)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10)
        status = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if head.returncode or tracked.returncode:
        return ""
    return head.stdout.strip() + ("-dirty" if status.stdout.strip() else "")


def describe(device: torch.device) -> dict[str, Any]:
    """Everything about this process that can change a number."""
    return {
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name(device),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "commit": commit(),
        "command": " ".join(["robench", *sys.argv[1:]]),
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
