"""Durations as people say them."""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """2.5 days, 3 h 20 min, 4 min 10 s, 12 s."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.1f} days"
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {left:02d} s" if minutes else f"{left} s"
