"""What a stranger needs to redo a run: versions, hardware, commit, command."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

SILENT = (
    "cli",
    "boards",
    "tables",
    "comparison",
    "figures",
    "reports",
    "theory",
    "verification",
    "submission",
    "defenses",
)
"""Folders of the package that change no number, and where an installed one has what is hashed on its own."""
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


@cache
def code() -> str:
    """The SHA-256 of the package's own code that can change a number, which an installed package has no commit for."""
    package = Path(__file__).parents[1]
    found = find_spec("robench_fire.defenses")
    homes = {"robench_fire": package, "defenses": Path(found.submodule_search_locations[0])} if (
        found and found.submodule_search_locations) else {"robench_fire": package}  # fmt: skip
    digest = hashlib.sha256()
    for name, home in homes.items():
        for path in sorted(home.rglob("*.py")):
            part = path.relative_to(home)
            if part.parts[0] not in SILENT:
                digest.update(f"{name}/{part.as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def other_sums(sessions: Sequence[Mapping[str, Any]]) -> str:
    """What a training's last session does that keeps it from the bits of a whole one; "" where nothing is known."""
    if len(sessions) < 2:
        return ""
    before, now = sessions[-2:]
    if not before.get("deterministic"):
        return ""
    if not now["deterministic"]:
        return "was begun --deterministic and goes on without: its weights will not be the same again"
    if now["cuda"] is None and before["threads"] != now["threads"]:
        return (
            f"was begun by {before['threads']} threads and goes on by {now['threads']}: its weights will be those of "
            f"neither; OMP_NUM_THREADS={before['threads']} keeps them"
        )
    return ""


def describe(device: torch.device) -> dict[str, Any]:
    """Everything about this process that can change a number."""
    return {
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name(device),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cores": os.cpu_count(),
        "commit": commit(),
        "code": code(),
        "command": shlex.join(["robench", *sys.argv[1:]]),
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
