"""A table on a terminal of any width: a row is one line, and what does not fit is left out and named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from robench_fire.errors import printable
from robench_fire.tables.columns import NUMBERS
from robench_fire.tables.table import Table

LEFT_OUT = ("MFU", "Images/s", "Energy", "Device", "Train time", "Seeds", "Extra data", "Profile", "Average",
            "Architecture", "FLOPs", "RobustBench", "Per point", "FIRE paper", "FGSM", "PGD-20 CW",
            "Square")  # fmt: skip
"""Columns in the order in which they are left out where a terminal is too narrow; what was asked for goes last."""
SHORT = {"WideResNet-": "WRN-", "PreActResNet-": "PRN-", r"\bResNet-": "RN-"}
"""Architectures as papers abbreviate them; files have RobustBench's spelling."""

HEAD, APART, BOLD = 2, "  ", Style(bold=True)
"""Lines of a heading; what is between two columns."""


def draw(table: Table, console: Console, wide: bool = False) -> None:
    """Print a table to ``console``; all of it where that is no terminal, or ``wide`` is asked for."""
    columns, all_ = list(table.columns), wide or not console.is_terminal
    cells = _cells(table)
    widths = {name: max(map(cell_len, [name, *texts])) for name, texts in cells.items()}
    out: list[str] = []
    for name in (name for name in LEFT_OUT if name in table.columns):
        if all_ or _width(_headed(columns, widths)) <= console.width:
            break
        columns.remove(name)
        out.append(name)
    headed = _headed(columns, widths)
    console.print(Text(printable(table.title), style="bold"), soft_wrap=all_)
    wide_enough = console.options.update(width=_width(headed))  # a print keeps to the terminal's width
    lines = [*Segment.split_lines(console.render(headed, wide_enough))][:HEAD]
    parts = [part for line in lines for part in (*line, Segment.line())]
    texts = [_padded(cells[name], name, widths[name]) for name in columns]
    parts += _rows(list(zip(*texts, strict=True)), columns, table.best)
    console.print(Segments(parts), crop=False, end="")
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
    left_out = (
        [f"Left out at {console.width} columns: {', '.join(out)}; `robench table --wide` shows all."] if out else []
    )
    for note in [*notes, *table.remarks, *left_out]:
        console.print(Text(printable(note), style="dim"), soft_wrap=all_)


def _width(drawn: RichTable) -> int:
    """What a table takes, however wide the terminal is."""
    return Console(width=10_000).measure(drawn).maximum


def _headed(columns: Sequence[str], widths: Mapping[str, int]) -> RichTable:
    """A table of one row, as wide as all of them: rich takes a second to measure and draw a thousand."""
    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        drawn.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=True)
    drawn.add_row(*("-" * widths[column] for column in columns))
    return drawn


def _cells(table: Table) -> dict[str, list[str]]:
    """By column, what stands in it."""
    columns: dict[str, Sequence[str]] = {name: [] for name in table.columns} | dict(
        zip(table.columns, zip(*table.cells, strict=True), strict=False)
    )
    return {name: [_cell(each, name) for each in texts] for name, texts in columns.items()}


def _padded(texts: Sequence[str], column: str, width: int) -> list[str]:
    spaces = [" " * (width - cell_len(each)) for each in texts]
    if column in NUMBERS:
        return [space + each for each, space in zip(texts, spaces, strict=True)]
    return [each + space for each, space in zip(texts, spaces, strict=True)]


def _rows(rows: Sequence[Sequence[str]], columns: Sequence[str], best: Sequence[set[str]]) -> Iterator[Segment]:
    """A line for each row, in as few parts as its bold cells allow."""
    for cells, bold in zip(rows, best, strict=True):
        before = ""
        for number, (cell, column) in enumerate(zip(cells, columns, strict=True)):
            between = APART if number else ""
            if column in bold:
                yield Segment(before + between)
                yield Segment(cell, BOLD)
                before = ""
            else:
                before += between + cell
        yield Segment(f"{before}\n")


def _cell(cell: str, column: str) -> str:
    if column == "Architecture":
        for long, short in SHORT.items():
            cell = re.sub(long, short, cell)
    return printable(" ".join(re.split("[\n\t]", cell)))
