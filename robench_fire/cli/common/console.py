"""Consoles that show what files and users say as it is."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def plain(**how: Any) -> Console:
    """A console for which no text is markup: "[red]" is shown, and colours are given as styles. ``how``: rich's own."""
    return Console(markup=False, emoji=False, **how)
