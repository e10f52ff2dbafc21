"""Run folders without content."""

from __future__ import annotations

from pathlib import Path


def listed(folder: Path) -> set[str]:
    """Every file of a folder, hidden ones too."""
    return {path.name for path in folder.iterdir()}
