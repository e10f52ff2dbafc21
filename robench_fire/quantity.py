"""Numbers that remember how they were written."""

from __future__ import annotations

import re
from fractions import Fraction

_WRITTEN = re.compile(r"[+-]?(\d+/\d+|(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?)", re.ASCII | re.IGNORECASE)


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

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"
