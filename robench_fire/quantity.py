"""Numbers as people write and read them: radii that keep their text, durations, sizes."""

from __future__ import annotations

import re
from fractions import Fraction

_WRITTEN = re.compile(r"[+-]?(\d+/\d+|(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?)", re.ASCII | re.IGNORECASE)
_PART = re.compile(r"(\d{1,7}(?:\.\d*)?) ?(s|min|m|h|days|d)(?= ?\d|$) ?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "days": 86400}


class Quantity(float):
    """A float that prints as it was written: ``Quantity("8/255")`` is 0.0313725... and its text is ``8/255``.

    The literature quotes radii both as 8/255 and as 0.031, which are different numbers; keeping the text keeps them
    apart in files and tables.

    Raises:
        ValueError: if the text is neither a decimal number nor a fraction of two integers.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, written: str | float) -> Quantity:
        """From its text, or from a number, whose text Python chooses."""
        text = re.sub(r"\s*/\s*", "/", str(written).strip())
        try:
            if not _WRITTEN.fullmatch(text):
                raise ValueError
            value = float(Fraction(text))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ValueError(f"{text!r} is not a number; write it like 8/255 or 0.031") from None
        made = super().__new__(cls, value)
        made.text = text
        return made

    def times(self, factor: Fraction) -> Quantity:
        """So many times as much, written in the same way: half of 8/255 is 4/255, of 0.2 it is 0.1."""
        whole, _, parts = self.text.partition("/")
        if parts and (Fraction(whole) * factor).denominator == 1:
            return Quantity(f"{Fraction(whole) * factor}/{parts}")
        return Quantity(f"{float(self) * factor.numerator / factor.denominator:.6g}")

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"


def same(one: str, other: str) -> bool:
    """Whether two texts are of one number, as 0.2 and 1/5 are; 8/255 and 0.031 are not."""
    return one == other or float(Quantity(one)) == float(Quantity(other))


def duration(seconds: float) -> str:
    """2.5 days, 3 h 20 min, 4 min 10 s, 12 s."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.1f} days"
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {left:02d} s" if minutes else f"{left} s"


def seconds(text: str) -> float:
    """What a duration is in seconds: "90", "90s", "5m", "2h30m", "1d", "7:59:00" (hours, minutes, seconds; "9:30" too).

    What ``duration`` writes is read as well.

    Raises:
        ValueError: for anything else, or less than nothing.
    """
    plain = text.strip().lower()
    if re.fullmatch(r"\d{1,7}(\.\d*)?", plain, re.ASCII):
        return float(plain)
    if plain and not _PART.sub("", plain):
        return sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(plain))
    if match := re.fullmatch(r"(?:(\d{1,5}):)?(\d{1,5}):([0-5]\d)", plain):
        hours, minutes, rest = (int(each or 0) for each in match.groups())
        return float(3600 * hours + 60 * minutes + rest)
    raise ValueError(f"{text!r} is no duration; write it like 90s, 5m, 2h30m or 7:59:00")


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
