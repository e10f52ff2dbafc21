"""A table for a terminal, whatever its width."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from robench_fire.tables import costs
from robench_fire.tables.table import NUMBERS, Table


def terminal(table: Table, console: Console) -> RenderableType:
    """For rich. Where the table is too wide, the spread goes below its mean, so that no number is ever cut."""
    drawn = _drawn(table, narrow=False)
    if console.measure(drawn, options=console.options.update(width=1000)).maximum > console.width:
        drawn = _drawn(table, narrow=True)
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
    below = (Text(note, style="dim") for note in [*notes, *table.remarks])
    return Group(Text(table.title, style="bold"), drawn, *below)


def _drawn(table: Table, narrow: bool) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0))
    for column in table.columns:
        number = column in NUMBERS
        header = column.replace(" ", "\n").replace("Archi", "Archi-\n") if narrow else column
        fixed = number or (column == "Method" and not narrow)
        drawn.add_column(header, justify="right" if number else "left", no_wrap=fixed, overflow="fold")
    for cells, best in zip(table.cells, table.best, strict=True):
        styles = ["bold" if column in best else "" for column in table.columns]
        drawn.add_row(
            *(
                Text(_broken(cell, column) if narrow else cell, style)
                for cell, column, style in zip(cells, table.columns, styles, strict=True)
            )
        )
    return drawn


def _broken(cell: str, column: str) -> str:
    if column in costs.COLUMNS:  # the unit below its number
        return cell.replace(" ", "\n")
    if re.match(r"\w{16}", cell):  # a name of RobustBench's: after the year, and what follows the paper's name
        cell = re.sub(r"((?:19|20)\d\d)|_", lambda found: found[0] + "\n", cell, count=2)
    return cell.replace(" ± ", "\n± ").replace(" / ", "\n/ ").replace(" at ", "\nat ").replace(" (ours)", "\n(ours)")
