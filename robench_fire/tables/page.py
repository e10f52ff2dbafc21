"""Tables as one HTML page that needs nothing else: no network and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from robench_fire.statistics.summary import MeanStd
from robench_fire.tables import cost_columns
from robench_fire.tables.columns import corruptions, union
from robench_fire.tables.entries import CHECKPOINT, OURS, REEVALUATED, Entry
from robench_fire.tables.table import PARETO, Table

COLUMNS = {
    "Rank": "number", "Method": "text", "Standard accuracy": "accuracy", "AutoAttack robust accuracy": "accuracy",
    "Best known robust accuracy": "accuracy", "Union": "accuracy", "PGD-20": "accuracy", "Corruptions": "accuracy",
    "Average": "accuracy", "AA eval. potentially unreliable": "mark",
    "Extra data": "mark",
    "Architecture": "text", "Venue": "text", "Seeds": "number", "Train time": "number",
    **dict.fromkeys(cost_columns.COLUMNS, "number"), "Device": "text",
}  # fmt: skip
"""RobustBench's columns, what else was measured, and those that only entries of ours fill; how each is set, sorted."""
ONLY_OURS = ("Seeds", "Train time")
ASKED = ("Union", "PGD-20", "Corruptions", "Average", "Train time", *cost_columns.COLUMNS, "Device")
"""Shown where the table has them."""


class Cell(NamedTuple):
    """``sort``: what it is sorted by, None where the value is missing. ``label``: what a sign such as ☑ says.

    ``seeds``: the value of each seed, as text.
    """

    text: str
    sort: float | str | None
    label: str = ""
    seeds: Sequence[str] = ()
    best: bool = False


class Picture(NamedTuple):
    """An SVG element that follows the page's colours, and a sentence on what it shows."""

    title: str
    svg: str
    said: str


def page(tables: Sequence[Table], pictures: Sequence[Picture] = ()) -> str:
    """One HTML page with a section per table, and below them ``pictures``. The same tables give the same bytes."""
    entries = sum(len(table.entries) for table in tables)
    sections = [section(table) for table in tables]
    return filled("page.html.j2", sections=sections, pictures=pictures, entries=entries)


def filled(template: str, folders: Sequence[str] = (), **known: Any) -> str:
    """A template of this folder, or of other packages' ``folders``, with what it knows; everything is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined  # here: no other format needs it

    places = [PackageLoader(each) for each in (*folders, "robench_fire.tables")]
    environment = Environment(
        loader=ChoiceLoader(places), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(template).render(**known)


def section(table: Table) -> dict[str, Any]:
    """What section.html.j2 shows of a table."""
    ours = [entry.origin == OURS for entry in table.entries]
    mixed = any(ours) and not all(ours)
    rows = [_row(table, number, mixed) for number in range(len(table.entries))]
    return {
        "title": table.title,
        "columns": {
            name: kind
            for name, kind in COLUMNS.items()
            if (any(ours) or name not in ONLY_OURS) and (name not in ASKED or name in table.columns)
        },
        "rows": rows,
        "notes": table.notes,
        "remarks": table.remarks,
        "measured": any(ours),
        "mixed": mixed,
    }


def _row(table: Table, number: int, mixed: bool) -> dict[str, Any]:
    """``mixed``: whether entries of ours stand among others, and are to be told apart."""
    entry = table.entries[number]
    ours = mixed and entry.origin == OURS
    return {
        "method": entry.method,
        "star": PARETO * table.optimal[number],
        "link": entry.link if entry.link.lower().startswith(("https://", "http://")) else "",  # never javascript:
        "title": entry.title if entry.title != entry.method else "",
        "marks": table.marks[number],
        "ours": ours,
        "badge": "ours" if ours else entry.origin if entry.origin in (REEVALUATED, CHECKPOINT) else "",
        "cells": dict(zip(COLUMNS, _cells(table, number, entry), strict=True)),
    }


def _cells(table: Table, number: int, entry: Entry) -> list[Cell]:
    known = None if entry.robust is None and entry.best_known is None else entry.score
    others = {"Union": union(entry), "PGD-20": entry.pgd20, "Corruptions": corruptions(entry)}
    asked = dict(zip(table.columns, table.cells[number], strict=True))
    numbers = {"Train time": entry.train_seconds and entry.train_seconds.mean, **cost_columns.sorted_by(entry)}
    return [
        Cell(str(table.ranks[number]), table.ranks[number]),
        Cell("", entry.method),
        _accuracy(entry, "clean", entry.clean, "Clean" in table.best[number], asked.get("Clean")),
        _accuracy(entry, "robust", entry.robust, "AutoAttack" in table.best[number], asked.get("AutoAttack")),
        Cell("–" if known is None else f"{known:.2f}%", known),
        *(Cell(f"{value}%", value.mean) if value else Cell("–", None) for value in others.values()),
        _accuracy(entry, "average", entry.average, "Average" in table.best[number], asked.get("Average")),
        _unreliable(entry.unreliable),
        _extra(entry.extra),
        Cell(entry.architecture or "–", entry.architecture or None),
        Cell(entry.venue or "–", entry.venue or None),
        Cell(entry.seeds, len(entry.row.per_seed) if entry.row else None),
        *(Cell(asked.get(name, ""), value) for name, value in numbers.items()),
    ]


def _accuracy(entry: Entry, measure: str, value: MeanStd | None, best: bool, text: str | None) -> Cell:
    """``text``: as the table has it, with its std or its interval."""
    if value is None:  # not even per seed: where AutoAttack was not run, a row's "robust" is PGD-20's
        return Cell("–", None)
    seeds = entry.row.per_seed if entry.row and measure != "average" else {}
    each = [f"seed {seed}: {values[measure]:.2f}" for seed, values in sorted(seeds.items())]
    return Cell(f"{text or value}%", value.mean, seeds=each, best=best)


def _unreliable(sign: bool | None) -> Cell:
    if sign is None:
        return Cell("Unknown", None)
    return Cell("☑", 1, "potentially unreliable") if sign else Cell("×", 0, "no sign of unreliability")


def _extra(extra: str) -> Cell:
    if extra == "hidden":
        return Cell("hidden labels", 1)
    if extra == "given":
        return Cell("given weights", 2)
    return Cell("☑", 2, "uses extra data") if extra == "file" else Cell("×", 0, "no extra data")
