"""Boards as a static website: an index, a page per board, a page per row with its downloads. No server, no network."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robench_fire.boards.model_info import is_row, to_model_info, with_seal
from robench_fire.boards.rows import Row
from robench_fire.errors import DataError, UsageError
from robench_fire.files import as_json, replaced, write_text
from robench_fire.problem.settings import leaves, said_value
from robench_fire.reports import words
from robench_fire.reports.report import TEMPLATES, pictures
from robench_fire.statistics.masks import unpacked
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import Entry, entries_in
from robench_fire.tables.formats import bibtex
from robench_fire.tables.marks import doubtful
from robench_fire.tables.page import filled, section
from robench_fire.tables.table import Table, tables

MARKER = "robench-site.txt"
"""A file that says that a folder holds a site of ours, whose pages may be written anew."""


class Board(NamedTuple):
    """One table of a board: the folder it lies in, its name there, and its page."""

    name: str
    table: Table
    page: str


def write(boards: Path, output: Path) -> list[Path]:
    """Write the website of everything below ``boards`` to ``output``; the pages, the index first.

    Raises:
        DataError: if there is no board.
        UsageError: if ``output`` holds something else.
    """
    found = _boards(boards)
    if output.exists() and any(output.iterdir()) and not (output / MARKER).exists():
        raise UsageError(f"{output} holds other files; choose an empty folder")
    written = [output / "index.html"]
    names = [_board(each, output) for each in found]
    write_text(written[0], filled("index.html.j2", TEMPLATES, boards=names))
    written += [output / each.page for each in found]
    for each in found:
        for entry in each.table.entries:
            if entry.row:
                written.append(_row(each, entry, entry.row, output))
    _tidy(output, written)
    return written


def _tidy(output: Path, written: Sequence[Path]) -> None:
    """Remove what an earlier site had and this one has not, and say what this one has."""
    marker, own = output / MARKER, {path.relative_to(output).with_suffix("").as_posix() for path in written}
    before = set(marker.read_text(encoding="utf-8").splitlines()[1:]) if marker.exists() else set()
    for name in before - own:
        for suffix in (".html", ".json", ".npz"):
            (output / (name + suffix)).unlink(missing_ok=True)
    write_text(
        marker, "\n".join(["A website by robench_fire, written anew by `robench site`; its pages:", *sorted(own)])
    )


def _boards(folder: Path) -> list[Board]:
    """A board per folder of row files and setting, in the order of their paths."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name one with boards, like leaderboards")
    files: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.json")):
        if is_row(path):
            files[path.parent].append(path)
    found = []
    for place, rows in files.items():
        name = place.relative_to(folder).as_posix() if place != folder else place.name
        for number, table in enumerate(tables(entries_in(rows), Shown(intervals=True))):
            page = slug(name) + (f"-{number + 1}" if number else "")
            found.append(Board(name, table, f"{page}.html"))
    if not found:
        raise DataError(f"{folder} holds no board; publish rows first: `robench table RUNS --publish {folder}`")
    return found


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "row"


def _board(board: Board, output: Path) -> dict[str, Any]:
    """Write a board's page; what the index says of it."""
    table, rows = board.table, [entry.row for entry in board.table.entries if entry.row]
    lead, part = words.lead(table.entries), section(table)
    for entry, row in zip(table.entries, part["rows"], strict=True):
        row["link"] = f"rows/{_file(board, entry)}.html" if entry.row else row["link"]
    text = filled(
        "board.html.j2", TEMPLATES, title=board.name, section=part, number=1, lead=lead,
        pictures=pictures(table.entries), reliability=words.reliability(rows), verdicts=words.VERDICTS,
    )  # fmt: skip
    write_text(output / board.page, text)
    first = table.entries[0]
    return {
        "name": board.name, "page": board.page, "dataset": first.dataset, "norm": first.norm, "eps": first.eps,
        "images": first.examples, "rows": len(table.entries), "lead": lead,
        "best": max((each.robust.mean for each in table.entries if each.robust and not doubtful(each)), default=None),
    }  # fmt: skip


def _file(board: Board, entry: Entry) -> str:
    """The name of a row's files: with its plan where the method has several rows on the board."""
    alike = [each for each in board.table.entries if each.key == entry.key]
    plan = entry.row.fingerprint if entry.row and len(alike) > 1 else ""
    return "-".join(filter(None, [board.page.removesuffix(".html"), slug(entry.key), plan]))


def _row(board: Board, entry: Entry, row: Row, output: Path) -> Path:
    """Write a row's page, its JSON, and the masks of its seeds."""
    stem = _file(board, entry)
    downloads = {f"{stem}.json": "the row as RobustBench's model_info, with everything of ours"}
    write_text(output / "rows" / f"{stem}.json", as_json(with_seal(to_model_info(row))))
    if masks := _masks(row):
        downloads[f"{stem}.npz"] = "which test images are right, clean and robust, by seed (numpy)"
        with replaced(output / "rows" / f"{stem}.npz") as partial:
            partial.write_bytes(masks)
    seeds, path = words.per_seed(row), output / "rows" / f"{stem}.html"
    write_text(path, filled(
        "row.html.j2", TEMPLATES, entry=entry, board=board, seeds=seeds, notes=entry.notes,
        cells=[list(each.values()) for each in seeds],
        reliability=words.reliability([row])[0], verdicts=words.VERDICTS, origin=words.origin(row),
        settings={name: said_value(value) for name, value in leaves(row.plan)}, citation=bibtex([entry]),
        downloads=downloads,
    ))  # fmt: skip
    return path


def _masks(row: Row) -> bytes:
    """An npz of (seeds, images) booleans "clean" and "robust", and "seeds"; empty where a seed has none."""
    masks, seeds = row.facts.get("masks", {}), sorted(row.per_seed)
    if set(masks) != set(map(str, seeds)):
        return b""
    clean, robust = (
        np.stack([unpacked(masks[str(seed)][name], row.examples) for seed in seeds]) for name in ("clean", "robust")
    )
    out = io.BytesIO()
    np.savez_compressed(out, seeds=np.array(seeds), clean=clean, robust=robust)
    return out.getvalue()


def listed(paths: Sequence[Path]) -> str:
    """How many pages, and where to begin."""
    return f"{len(paths)} pages; open {paths[0]}"
