"""Removing runs. Only folders that are runs; never boards."""

from __future__ import annotations

import shutil
from pathlib import Path

from robench_fire.errors import DataError, UsageError
from robench_fire.runs.folders import Run


def size(run: Run) -> int:
    """Bytes of everything in its folder."""
    return sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file())


def remove(run: Run, root: Path) -> None:
    """Delete a run, and folders between it and ``root`` that are empty then.

    What is interrupted leaves no half of a run: its folder is renamed first.

    Raises:
        UsageError: if another process works on it, or it is a link to a folder elsewhere.
        DataError: if it cannot be deleted.
    """
    folder = run.folder
    if folder.is_symlink():
        raise UsageError(f"{folder} is a link; remove {folder.resolve()} and the link yourself")
    gone = folder.with_name(f".{folder.name}.removed")
    try:
        with run.locked("its owner may remove it"):
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
        for left in folder.parent.glob(".seed-*.removed"):  # also of a removal that was interrupted
            shutil.rmtree(left)
        for parent in folder.parents:
            if parent == root or root not in parent.parents or any(parent.iterdir()):
                break
            parent.rmdir()
    except OSError as fault:
        raise DataError(f"{folder} cannot be removed: {fault.strerror or fault}") from None
