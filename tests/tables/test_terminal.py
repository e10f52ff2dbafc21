"""A table on a terminal: a row is a line, and nothing is cut."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from measured_entries import BOARD, one, ours
from repository import BOARDS
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from robench_fire.tables.columns import NUMBERS, Shown
from robench_fire.tables.entries import Entry, entries_in, told_apart
from robench_fire.tables.render import render, show
from robench_fire.tables.table import Table
from robench_fire.tables.terminal import _cell, draw


def drawn(entries: list[Entry], width: int, piped: bool = False, **asked: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=not piped, color_system=None, highlight=False)
    show(entries, "terminal", console, **asked)
    return re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


def lines_of(text: str, table: Table) -> list[str]:
    """The lines below the heading's rule, as many as there are rows, each with its method."""
    lines = text.splitlines()[3 : 3 + len(table.cells)]
    assert all(cells[1] in line for cells, line in zip(table.cells, lines, strict=True))
    return lines


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize(
    "shown",
    [Shown(), Shown(paper=True), Shown(published=True), Shown(cost=True), Shown(paper=True, cost=True),
     Shown(intervals=True, per_seed=True)],
)  # fmt: skip
@pytest.mark.parametrize("board", ["digits", "cifar10"])
def test_a_row_is_one_line_and_nothing_is_cut(width: int, shown: Shown, board: str) -> None:
    entries = entries_in([BOARDS / board / "Linf"])
    found = one(*entries, shown=shown)
    text = drawn(entries, width, shown=shown)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    rows = lines_of(text, found)
    assert len(rows) == len(found.entries)
    there = [name for name in found.columns if name.split()[0] in text.splitlines()[1]]
    left_out = re.search(r"Left out at \d+ columns: (.*?);", re.sub(r"\s+", " ", text))
    assert set(found.columns) == set(there) | set(left_out[1].split(", ") if left_out else [])
    for cells, row in zip(found.cells, rows, strict=True):
        for name, cell in zip(found.columns, cells, strict=True):
            if name in there and name != "Architecture":
                assert cell in row
        assert not re.search(r"±\s*$", row)
    for note in [*found.notes, *found.remarks]:
        assert re.sub(r"\s", "", note) in re.sub(r"\s", "", text)


def test_columns_go_in_the_stated_order_and_all_show_if_asked_for() -> None:
    found = one(*BOARD)
    assert "Train time" not in drawn(BOARD, 100).splitlines()[1]
    for text in (drawn(BOARD, 80, wide=True), drawn(BOARD, 80, piped=True), drawn(BOARD, 200)):
        assert all(column in text.splitlines()[1] for column in found.columns)
        assert "Left out" not in text
    assert "robench table --wide" in drawn(BOARD, 80)


@pytest.mark.parametrize(
    ("name", "short"),
    [("WideResNet-34-10", "WRN-34-10"), ("PreActResNet-18", "PRN-18"), ("ResNet-18", "RN-18"),
     ("RaWideResNet-70-16", "RaWRN-70-16"), ("DigitsCNN", "DigitsCNN")],
)  # fmt: skip
def test_architectures_are_abbreviated_on_a_terminal(name: str, short: str) -> None:
    given = [replace(ours("FIRE", 50.0), architecture=name), replace(ours("MART", 51.0), architecture=name)]
    assert f" {short} " in drawn(given, 100)
    assert name in render(given, "md")


def test_rows_of_one_method_are_called_by_what_differs() -> None:
    one_, two = ours("FIRE", 50.0), ours("FIRE", 52.0)
    assert one_.row is not None
    plan = {**one_.row.plan, "recipe": {**one_.row.plan["recipe"], "batch_size": 64}}
    given = told_apart([one_, replace(two, row=replace(one_.row, plan=plan, fingerprint="other"))])
    assert sorted(each.method for each in one(*given).entries) == ["FIRE batch_size=128", "FIRE batch_size=64"]
    assert one(one_, ours("MART", 52.0)).notes == []


@pytest.mark.parametrize("board", ["digits", "cifar10"])
def test_rows_stand_as_rich_puts_them(board: str) -> None:
    """A table of rich's own, which would take seconds for thousands of rows."""
    found, out, whole = one(*entries_in([BOARDS / board / "Linf"])), io.StringIO(), io.StringIO()
    table = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in found.columns:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    for cells, best in zip(found.cells, found.best, strict=True):
        named = zip(found.columns, cells, strict=True)
        table.add_row(*(Text(_cell(cell, name), "bold" if name in best else "") for name, cell in named))
    Console(file=whole, width=300, force_terminal=True).print(table)
    draw(found._replace(notes=[], remarks=[]), Console(file=out, width=300, force_terminal=True))
    assert out.getvalue().partition("\n")[2] == whole.getvalue()
