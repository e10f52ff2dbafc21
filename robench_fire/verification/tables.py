"""The tables that were published beside a board, made again from its rows."""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from itertools import zip_longest
from pathlib import Path

from robench_fire.tables.entries import entries_in
from robench_fire.tables.render import render
from robench_fire.verification.finding import Finding, lacking, listed, numbers_apart, tried

STYLES = ("md", "html", "csv")
"""Formats of tables that may lie beside a board's folder."""


def tables(folder: Path) -> list[Finding]:
    """Of the rows in ``folder``."""
    paths = [folder.with_name(f"{folder.name}.{style}") for style in STYLES]
    there = [path for path in paths if path.exists()]
    return [finding for path in there for finding in tried("table", path, partial(_table, path, folder))]


def _table(path: Path, folder: Path) -> list[Finding]:
    style = path.suffix.removeprefix(".")
    said, made = path.read_text(encoding="utf-8"), render(entries_in([folder]), style)
    pairs = zip_longest(_rows(said, style), _rows(made, style), fillvalue="nothing")
    wrong = [f"it says {one!r} where its rows give {other!r}" for one, other in pairs if one != other][:3]
    if wrong:
        return [listed("table", path, [*wrong, "publish it again"], "")]
    below, again = (_sentences(text, style) for text in (said, made))
    if below == again:
        return [Finding("table", str(path), True, "the rows, word by word")]
    if apart := numbers_apart("what stands beside the rows", below, again):
        return [listed("table", path, apart, "")]
    return [lacking("table", path, "its rows agree; its sentences are another version's, of which numbers agree")]


def _rows(text: str, style: str) -> list[str]:
    """The lines of a table that hold its cells, and its title."""
    if style == "md":
        return [line for line in text.splitlines() if line.startswith(("|", "**"))]
    if style == "html":
        parts = re.findall(r"<h2 .*?</h2>|<tbody>.*?</tbody>", text, flags=re.DOTALL)
        return [line for part in parts for line in part.splitlines()]
    rows = [
        {name: cell for name, cell in row.items() if name != "footnote"} for row in csv.DictReader(io.StringIO(text))
    ]
    return [", ".join(f"{name} {cell}" for name, cell in row.items()) for row in rows]


def _sentences(text: str, style: str) -> str:
    """The rest, less a page's style, its script, and its drawing, which depends on a library."""
    if style == "html":
        return re.sub(r"<(figure|style|script|tbody)>.*?</\1>\n?", "", text, flags=re.DOTALL).strip()
    if style == "csv":
        return "\n".join(row["footnote"] or "" for row in csv.DictReader(io.StringIO(text)))
    return "\n".join(line for line in text.splitlines() if not line.startswith(("|", "**"))).strip()
