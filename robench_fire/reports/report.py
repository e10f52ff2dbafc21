"""One page on runs or a board that needs nothing else: tables, figures, reliability, cost, provenance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from robench_fire.errors import DataError, RobenchError
from robench_fire.evaluation.adversarial_images import predicted
from robench_fire.figures import curves, gallery, points
from robench_fire.figures.source import Plan, plans
from robench_fire.figures.style import Drawn, inline
from robench_fire.reports import words
from robench_fire.runs.folders import find
from robench_fire.tables import cost_columns
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import Entry, beside
from robench_fire.tables.page import Picture, filled, section
from robench_fire.tables.table import Table, tables

TEMPLATES = ("robench_fire.reports",)


def report(sources: Sequence[Path], entries: Sequence[Entry], data: Path) -> str:
    """The page of ``entries``, which lie at ``sources``; of run folders with curves and images.

    ``data``: the folder of data sets.
    """
    found = list(tables(entries, Shown(intervals=True)))
    parts = [_part(table, number) for number, table in enumerate(found, 1)]
    title = found[0].title if len(found) == 1 else f"{len(entries)} rows in {len(found)} settings"
    known = {"title": title, "parts": parts, "runs": _of_runs(sources, entries, data), "verdicts": words.VERDICTS}
    return filled("report.html.j2", TEMPLATES, **known)


def _part(table: Table, number: int) -> dict[str, Any]:
    """What the page says of one table."""
    rows = [entry.row for entry in table.entries if entry.row]
    (costs,) = tables(table.entries, Shown(cost=True))
    return {
        "number": number, "section": section(table), "lead": words.lead(table.entries),
        "pictures": pictures(table.entries), "reliability": words.reliability(rows),
        "cost": {"columns": costs.columns, "cells": costs.cells, "remarks": cost_columns.remarks(table.entries)},
        "origins": [words.origin(row) for row in rows],
    }  # fmt: skip


def pictures(entries: Sequence[Entry]) -> list[Picture]:
    """The trade-off and the cost of what was measured here, as far as they can be drawn."""
    measured = [each for each in entries if each.row]
    known = [each for each in measured if each.robust]
    costs = _drawn("Robust accuracy against training time", lambda: points.cost(known)) if known else None
    return [*tradeoff(measured), *([costs] if costs else [])]


def tradeoff(entries: Sequence[Entry]) -> list[Picture]:
    """Clean against robust accuracy, of rows of one setting; nothing where that cannot be drawn."""
    known = [each for each in entries if each.row and each.robust]
    drawn = _drawn("Clean against robust accuracy", lambda: points.tradeoff(known, beside(known))) if known else None
    return [drawn] if drawn else []


def _of_runs(sources: Sequence[Path], entries: Sequence[Entry], data: Path) -> list[Picture]:
    """How training went, and what perturbed images look like; nothing of boards, or of what cannot be drawn."""
    shown = [entry.row.fingerprint for entry in entries if entry.row]  # the best first
    folders = [source for source in sources if source.is_dir() and find(source)]
    if not folders:
        return []

    def drawn(draw: Callable[[list[Plan]], Drawn]) -> Drawn:
        trained = [
            plan for plan in plans(folders) if plan.row.fingerprint in shown and any(r.trained for r in plan.runs)
        ]
        return draw(sorted(trained, key=lambda plan: shown.index(plan.row.fingerprint)))

    first = f" (the first {curves.MOST} of {len(shown)} methods)" if len(shown) > curves.MOST else ""
    drawings: list[tuple[str, Callable[[list[Plan]], Drawn]]] = [
        (f"Training{first}", lambda found: curves.curves(found[: curves.MOST])),
        ("What AutoAttack does to images", lambda found: _gallery(found, data)),
    ]
    return [picture for title, draw in drawings if (picture := _drawn(title, partial(drawn, draw)))]


def _gallery(found: Sequence[Plan], data: Path) -> Drawn:
    """Of the first seed that is trained."""
    if not found:
        raise DataError("no run is trained")
    run = next(run for run in found[0].runs if run.trained)
    return gallery.gallery(found[0], run.seed, predicted(run, data))


def _drawn(title: str, draw: Callable[[], Drawn]) -> Picture | None:
    """None of what cannot be drawn, as of rows without AutoAttack."""
    try:
        drawn = draw()
    except RobenchError:
        return None
    return Picture(title, inline(drawn.figure), drawn.said)
