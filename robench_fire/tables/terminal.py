"""A table on a terminal of any width: a row is one line, and what does not fit is left out and named."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segments
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


def draw(table: Table, console: Console, wide: bool = False) -> None:
    """Print a table to ``console``; all of it where that is no terminal, or ``wide`` is asked for."""
    columns, all_ = list(table.columns), wide or not console.is_terminal
    out: list[str] = []
    for name in (name for name in LEFT_OUT if name in table.columns):
        if all_ or _width(_drawn(table, columns)) <= console.width:
            break
        columns.remove(name)
        out.append(name)
    drawn = _drawn(table, columns)
    console.print(Text(printable(table.title), style="bold"), soft_wrap=all_)
    lines = console.render(drawn, console.options.update(width=_width(drawn)))  # a print keeps to the terminal's width
    console.print(Segments(lines), crop=False, end="")
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
    left_out = (
        [f"Left out at {console.width} columns: {', '.join(out)}; `robench table --wide` shows all."] if out else []
    )
    for note in [*notes, *table.remarks, *left_out]:
        console.print(Text(printable(note), style="dim"), soft_wrap=all_)


def _width(drawn: RichTable) -> int:
    """What a table takes, however wide the terminal is."""
    return Console(width=10_000).measure(drawn).maximum


def _drawn(table: Table, columns: Sequence[str]) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        drawn.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=True)
    for cells, best in zip(table.cells, table.best, strict=True):
        shown = dict(zip(table.columns, cells, strict=True))
        drawn.add_row(*(Text(_cell(shown[column], column), "bold" if column in best else "") for column in columns))
    return drawn


def _cell(cell: str, column: str) -> str:
    if column == "Architecture":
        for long, short in SHORT.items():
            cell = re.sub(long, short, cell)
    return printable(" ".join(cell.split("\n")))
