"""Durations and sizes as people say them."""

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


def scaled(value: float, unit: str) -> str:
    """Three digits and an SI prefix, as in 1.83 EFLOP."""
    for prefix in ("", "k", "M", "G", "T", "P", "E", "Z"):
        if abs(float(f"{value:.3g}")) < 1000:
            return f"{digits(value)} {prefix}{unit}"
        value /= 1000
    return f"{value:.3g} Y{unit}"


def digits(value: float) -> str:
    """At least three digits and no power of ten; what is less than 0.0001 is 0."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}" if value >= 1e-4 else "0"
