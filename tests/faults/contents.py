"""What an interruption may not change: every file of a folder, without the times that are in it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from robench_fire.runs.folders import read_json

TIMES = {
    "seconds", "sections", "attack_seconds", "last_session_seconds", "sessions", "images_per_second", "mfu",
    "flops_per_second", "matmul_flops_per_second", "peak_memory_bytes", "energy_joules",
    "curve_sha256", "log_sha256",  # of files with times in them
}  # fmt: skip
TEMPORARY = ("state.pt", ".state", ".previous", ".partial", ".lock", ".by")
"""Endings of files that only work under way needs; of a run's lock nothing but an empty file is left."""


def tree(folder: Path) -> dict[str, Any]:
    """Contents by path, hidden files and empty folders too."""
    return {path.relative_to(folder).as_posix(): content(path) for path in sorted(folder.rglob("*"))}


def finished(found: dict[str, Any]) -> dict[str, Any]:
    """Those of a tree that are under their own names for good."""
    return {name: each for name, each in found.items() if not name.endswith(TEMPORARY) and "/." not in name}


def content(path: Path) -> Any:
    """What can be compared of a file; everything of a board and of arrays.

    Raises:
        RobenchError: if it is no file that could have been written whole.
    """
    if path.is_dir():
        return "a folder"
    if path.name.endswith(TEMPORARY):
        return "temporary"
    if path.name == "curve.jsonl":
        return [_timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".json" and path.parent.name.startswith("seed-"):
        return _timeless(read_json(path))
    if path.suffix == ".log":
        return re.sub(r"total time \S+ s", "", path.read_text(encoding="utf-8"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(each) for name, each in value.items() if name not in TIMES}
    return value
