"""How every figure looks, and how it is written: legible in print, on a dark page and without colours."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from robench_fire.errors import UsageError
from robench_fire.files import csv_cell, replaced, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

INK = "#121314"
"""Of text and axes; where a figure stands in a page, it becomes the page's own colour."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
"""Okabe and Ito's palette, which colour-blind readers can tell apart; ink in the place of its black."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
GREY, PARETO = "#8A8A8A", "#C00000"
SUFFIXES = (".png", ".svg", ".pdf")
WIDE, SQUARE = (7.0, 4.2), (4.6, 4.2)  # inches: two columns of a paper, and one, to which it may be shrunk
SETTINGS: Any = {  # of matplotlib's rcParams

    "font.size": 10.0, "axes.titlesize": 10.0, "legend.fontsize": 8.5, "legend.frameon": False, "axes.grid": True,
    "axes.axisbelow": True, "grid.alpha": 0.25, "axes.spines.top": False, "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "lines.linewidth": 1.6, "svg.fonttype": "path", "svg.hashsalt": "robench_fire", "savefig.facecolor": "white",
}  # fmt: skip


class Drawn(NamedTuple):
    """``data``: a row of names and values per point, as the CSV beside it has them. ``said``: what it shows."""

    figure: Figure
    data: Sequence[Mapping[str, Any]]
    said: str


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """A function that draws, in the style of this module."""

    @wraps(draw)
    def styled_draw(*given: P.args, **named: P.kwargs) -> R:
        import matplotlib as mpl  # here and below, because it takes half a second to import

        with mpl.rc_context(SETTINGS):
            return draw(*given, **named)

    return styled_draw


def figure(size: tuple[float, float] = WIDE, panels: tuple[int, int] = (1, 1), **asked: Any) -> tuple[Figure, Any]:
    """An empty figure in inches, and its axes; no display is needed. To be called by what is ``styled``."""
    from matplotlib.figure import Figure

    made = Figure(figsize=size, layout="constrained")
    return made, made.subplots(*panels, **asked)


def settle(made: Figure) -> None:
    """Lay a figure out, once for all: its layout would move a little with each time that it is drawn."""
    if made.get_layout_engine() is not None:
        made.draw_without_rendering()
        made.set_layout_engine("none")


def look(number: int) -> dict[str, Any]:
    """A colour and a marker of the n-th series, another pair for each of 49."""
    return {"color": COLOURS[number % 7], "marker": MARKERS[(number + number // 7) % 7]}


def plain(text: str, most: int = 40) -> str:
    """A name as matplotlib shows it letter by letter: no formula, no line break, no series hidden from a legend."""
    shown = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    shown = shown if len(shown) <= most else shown[: most - 1] + "…"
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$")


def targets(output: Path, force: bool) -> list[Path]:
    """The files that a figure is written to: ``output``, or PNG and SVG where it has no suffix; and the CSV beside.

    Raises:
        UsageError: for another suffix, or a file that is there and is to be kept.
    """
    if output.suffix and output.suffix not in SUFFIXES:
        raise UsageError(f"-o {output}: a figure is written as {', '.join(SUFFIXES)}, or as PNG and SVG without suffix")
    pictures = [output] if output.suffix else [output.with_suffix(".png"), output.with_suffix(".svg")]
    found = [*pictures, output.with_suffix(".csv")]
    if there := [path for path in found if path.exists() and not force]:
        raise UsageError(f"{there[0]} exists and is kept; choose another name, or --force")
    return found


def save(drawn: Drawn, paths: Sequence[Path]) -> None:
    """Write a figure and its data, each file whole or not at all; the same figure gives the same bytes."""
    for path in paths:
        if path.suffix == ".csv":
            write_text(path, as_csv(drawn.data))
            continue
        with replaced(path) as partial:
            partial.write_bytes(picture(drawn.figure, path.suffix[1:]))


@styled
def picture(made: Figure, kind: str) -> bytes:
    """A figure as PNG (200 dots an inch), SVG or PDF."""
    dated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    settle(made)
    out = io.BytesIO()
    made.savefig(out, format=kind, dpi=200, metadata=dated)
    return out.getvalue()


@styled
def inline(made: Figure) -> str:
    """An SVG element for an HTML page, light or dark: without ground, and with text in the page's colour."""
    settle(made)
    out = io.BytesIO()
    made.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue().decode()
    return re.sub(r">\s+<", "><", text[text.index("<svg") :]).replace(INK, "currentColor")


def as_csv(data: Sequence[Mapping[str, Any]]) -> str:
    """Rows of names and values, with a head of all names."""
    names = list(dict.fromkeys(name for row in data for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _exact(value) for name, value in row.items()} for row in data)
    return out.getvalue()


def _exact(value: Any) -> Any:
    return f"{value:.8g}" if isinstance(value, float) else csv_cell(value)
