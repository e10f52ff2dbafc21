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
    """For rich. Where the table is too wide it is squeezed: first the spread goes below its mean, then long words are
    broken at their hyphens; no number is ever cut."""
    wide = console.options.update(width=1000)
    for squeezed in range(3):
        drawn = _drawn(table, squeezed)
        if console.measure(drawn, options=wide).maximum <= console.width:
            break
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
    below = (Text(note, style="dim") for note in [*notes, *table.remarks])
    return Group(Text(table.title, style="bold"), drawn, *below)


def _drawn(table: Table, squeezed: int) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0 if squeezed else 1, 0, 0))
    for column in table.columns:
        number = column in NUMBERS
        fixed = number or (column == "Method" and not squeezed)
        header = _header(column, squeezed)
        drawn.add_column(header, justify="right" if number else "left", no_wrap=fixed, overflow="fold")
    for cells, best in zip(table.cells, table.best, strict=True):
        styles = ["bold" if column in best else "" for column in table.columns]
        texts = [_cell(cell, column, squeezed) for cell, column in zip(cells, table.columns, strict=True)]
        drawn.add_row(*map(Text, texts, styles))
    return drawn


def _header(column: str, squeezed: int) -> str:
    if squeezed == 2:
        column = column.replace("AutoAttack", "Auto-\nAttack")
    return column.replace(" ", "\n").replace("Archi", "Archi-\n") if squeezed else column


def _cell(cell: str, column: str, squeezed: int) -> str:
    if not squeezed:
        return cell
    if column in costs.COLUMNS:  # the unit below its number
        return cell.replace(" ", "\n")
    if re.match(r"\w{16}", cell):  # a name of RobustBench's: after the year, and what follows the paper's name
        cell = re.sub(r"((?:19|20)\d\d)|_", lambda found: found[0] + "\n", cell, count=2)
    if squeezed == 2 and column not in NUMBERS:  # WideResNet-, Self-
        cell = re.sub(r"\b(?=[\w-]{11})([A-Za-z]{4,}-)", r"\1\n", cell, count=1)
    if squeezed == 2 and column == "Train time":  # the unit below
        cell = re.sub(r" (\w+)$", r"\n\1", cell)
    return cell.replace(" ± ", "\n± ").replace(" / ", "\n/ ").replace(" at ", "\nat ").replace(" (", "\n(")
