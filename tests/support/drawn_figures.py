"""What every figure must hold to, and names that matplotlib would read otherwise."""

from __future__ import annotations

from matplotlib import cbook
from matplotlib.text import Text

from robench_fire.figures.style import Drawn, as_csv, inline, picture

ODD = ("$x^2$ of_a_b", r"$\frac$", "_hidden", "a <b> & 50 %", "two\nlines", r"\$ and $", "n" * 90, "#{}'\"")
"""Names of methods; none of them is a formula."""


def texts(drawn: Drawn) -> list[str]:
    """Everything that is written in a figure."""
    return [each.get_text() for each in drawn.figure.findobj(Text) if each.get_text()]


def check(drawn: Drawn) -> None:
    """It can be drawn; no text is a formula; there is data, and one sentence at least."""
    assert picture(drawn.figure, "png")
    assert "currentColor" in inline(drawn.figure)
    assert not [text for text in texts(drawn) if cbook.is_math_text(text)]  # type: ignore[no-untyped-call]
    assert as_csv(drawn.data).count("\n") > 1
    assert drawn.said.endswith(".")
    assert "nan" not in drawn.said
    assert max(drawn.figure.get_size_inches()) <= 12
