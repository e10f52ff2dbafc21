"""One call from entries to a format, and the boards that are published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from robench_fire.boards import model_info
from robench_fire.boards.rows import Row
from robench_fire.files import write_text
from robench_fire.tables import formats
from robench_fire.tables.entries import Entry, beside, entries_in
from robench_fire.tables.page import page
from robench_fire.tables.table import tables
from robench_fire.tables.terminal import draw

FORMATS = ("terminal", "html", "md", "latex", "csv", "json", "bibtex")


def render(
    entries: Sequence[Entry], style: str, paper: bool = False, published: bool = False, cost: bool = False,
    attacks: bool = False,
) -> str:  # fmt: skip
    """Entries as text in one of FORMATS but "terminal"."""
    if style in ("html", "md", "latex"):
        found = list(tables(entries, paper, published, cost, attacks))
        if style == "html":
            return page(found).rstrip()
        return "\n".join(map(formats.markdown if style == "md" else formats.latex, found)).rstrip()
    listed = [*_ranked(entries), *(beside(entries) if published else [])]
    if style == "csv":
        return formats.as_csv(listed, cost)
    return {"json": formats.as_json, "bibtex": formats.bibtex}[style](listed)


def _ranked(entries: Sequence[Entry]) -> list[Entry]:
    """As tables have them: one setting after the other, the best first."""
    return [entry for table in tables(entries) for entry in table.entries]


def show(
    entries: Sequence[Entry], style: str, console: Console, paper: bool = False, published: bool = False,
    cost: bool = False, wide: bool = False, attacks: bool = False,
) -> None:  # fmt: skip
    """Print entries to ``console`` in one of FORMATS; ``wide``: every column, however narrow a terminal is."""
    if style == "terminal":
        for table in tables(entries, paper, published, cost, attacks):
            draw(table, console, wide)
    else:
        console.file.write(render(entries, style, paper, published, cost, attacks) + "\n")


def publish(rows: Iterable[Row], board: Path) -> list[Path]:
    """Write rows to a board, and beside each of its folders the table of everything in it, as Markdown and a page."""
    written = model_info.publish(rows, board)
    pages = []
    for folder in dict.fromkeys(path.parent for path in written):
        entries = entries_in([folder])
        for style in ("md", "html"):
            pages.append(folder.with_suffix(f".{style}"))
            write_text(pages[-1], render(entries, style) + "\n")
    return written + pages
