"""One call from entries to a format, and the boards that are published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console

from robench_fire.boards import model_info
from robench_fire.boards.rows import Row
from robench_fire.files import write_text
from robench_fire.tables import formats
from robench_fire.tables.columns import USUAL, Shown
from robench_fire.tables.entries import Entry, beside, entries_in
from robench_fire.tables.page import Picture, page
from robench_fire.tables.table import tables
from robench_fire.tables.terminal import draw

FORMATS = ("terminal", "html", "md", "latex", "csv", "json", "bibtex")


def render(entries: Sequence[Entry], style: str, shown: Shown = USUAL) -> str:
    """Entries as text in one of FORMATS but "terminal"."""
    if style in ("html", "md", "latex"):
        found = list(tables(entries, shown))
        if style == "html":
            return page(found).rstrip()
        return "\n".join(map(formats.markdown if style == "md" else formats.latex, found)).rstrip()
    if style == "csv":
        return formats.as_csv(ranked(entries, shown), shown)
    listed = ranked(entries, shown._replace(per_seed=False))
    return formats.bibtex(listed) if style == "bibtex" else formats.as_json(listed, shown)


def ranked(entries: Sequence[Entry], shown: Shown = USUAL) -> list[Entry]:
    """As tables have them: one setting after the other, the best first; then published ones, where they are shown."""
    ours = [entry for table in tables(entries, Shown(per_seed=shown.per_seed)) for entry in table.entries]
    return [*ours, *(beside(entries) if shown.published else [])]


def show(entries: Sequence[Entry], style: str, console: Console, shown: Shown = USUAL, wide: bool = False) -> None:
    """Print entries to ``console`` in one of FORMATS; ``wide``: every column, however narrow a terminal is."""
    if style == "terminal":
        for table in tables(entries, shown):
            draw(table, console, wide)
    else:
        console.file.write(render(entries, style, shown) + "\n")


def publish(
    rows: Iterable[Row], board: Path, pictures: Callable[[Sequence[Entry]], Sequence[Picture]] = lambda entries: ()
) -> list[Path]:
    """Write rows to a board, and beside each of its folders the table of everything in it, as Markdown and a page.

    ``pictures``: draws those of a page.
    """
    written = model_info.publish(rows, board)
    pages = []
    for folder in dict.fromkeys(path.parent for path in written):
        entries = entries_in([folder])
        pages += [folder.with_suffix(f".{style}") for style in ("md", "html")]
        write_text(pages[-2], render(entries, "md") + "\n")
        write_text(pages[-1], page(list(tables(entries)), pictures(entries)))
    return written + pages
