"""A sweep as a table, one column for each setting that is swept, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from robench_fire.boards.sweeps import Point, Sweep, said_setting
from robench_fire.statistics.summary import MeanStd, mean_std
from robench_fire.tables.entries import Entry, of_row
from robench_fire.tables.table import Table, tables

VALIDATION = ("Val. clean", "Val. robust", "Selected")
BY = {"clean": "clean accuracy", "robust": "robust accuracy (training attack)",
      "average": "of clean and robust accuracy (training attack)"}  # fmt: skip


def swept_tables(sweep: Sweep) -> list[Table]:
    """The tables of the rows that were evaluated, with a line for every point in the order of the sweep.

    ``Table.entries`` are those of the lines that were evaluated.
    """
    made = list(tables([_entry(point) for point in sweep.points if point.row]))
    title = f"{sweep.dataset}, {sweep.norm}, eps {sweep.eps}"
    nothing = Table(
        title, ["Method"], cells=[], entries=[], ranks=[], best=[], optimal=[], marks=[], notes=[], remarks=[]
    )
    made = made or [nothing]
    placed = {entry.row.fingerprint: number for number, table in enumerate(made)
              for entry in table.entries if entry.row}  # fmt: skip
    return [
        _swept(table, sweep, [point for point in sweep.points if placed.get(point.fingerprint, 0) == number])
        for number, table in enumerate(made)
    ]


def _entry(point: Point) -> Entry:
    """Of a point's row, without the notes that say again what its columns say."""
    assert point.row is not None
    changed = point.row.facts["by_hand"]
    own = {path: value for path, value in changed.items() if path not in point.settings}
    return of_row(replace(point.row, facts=point.row.facts | {"by_hand": own}))


def _swept(table: Table, sweep: Sweep, points: Sequence[Point]) -> Table:
    at = {entry.row.fingerprint: number for number, entry in enumerate(table.entries) if entry.row}
    more = [*sweep.columns, *(VALIDATION if sweep.select else ())]
    place = table.columns.index("Method") + 1
    columns = [*table.columns[:place], *more, *table.columns[place:]]
    cells, best, marks, ranks, entries = [], [], [], [], []
    notes: list[str] = []
    for point in points:
        number = at.get(point.fingerprint)
        own = _failures(point) + ([] if number is None else [table.notes[mark - 1] for mark in table.marks[number]])
        notes += [note for note in own if note not in notes]
        marks.append(sorted(notes.index(note) + 1 for note in own))
        marked = f"{point.method} [{','.join(map(str, marks[-1]))}]" if own else point.method
        known = {} if number is None else dict(zip(table.columns, table.cells[number], strict=True))
        known |= {"Method": marked} | dict(zip(more, _own_cells(point), strict=False))
        cells.append([known.get(column, "–") for column in columns])
        best.append(set() if number is None else table.best[number])
        if number is not None:
            ranks.append(table.ranks[number])
            entries.append(table.entries[number])
    return table._replace(
        columns=columns, cells=cells, entries=entries, ranks=ranks, best=best, marks=marks, notes=notes,
        remarks=[*table.remarks, *_remarks(sweep)],
    )  # fmt: skip


def _own_cells(point: Point) -> list[str]:
    clean, robust = point.over_seeds("clean"), point.over_seeds("robust")
    accuracies = ["–" if each is None else f"{each}" for each in (clean, robust)]
    return [*map(said_setting, point.settings.values()), *accuracies, "yes" if point.selected else "–"]


def _failures(point: Point) -> list[str]:
    by_text: dict[str, list[int]] = {}
    for seed, text in point.failed.items():
        by_text.setdefault(text, []).append(seed)
    return [f"Seed {', '.join(map(str, seeds))}: {text}." for text, seeds in by_text.items()]


def _remarks(sweep: Sweep) -> list[str]:
    notes = [f"{note}." for note in sweep.notes]
    count = f"{len(sweep.seeds)} seed{'s' * (len(sweep.seeds) > 1)}"
    if not sweep.select:
        said = (
            "Every setting was evaluated on the test images and nothing was selected. The best line would be a choice "
            "made on them; `--select robust` chooses on validation images."
        )
        return [*notes, said]
    by = f"mean validation {BY[sweep.select]}" if sweep.select != "average" else f"the validation mean {BY['average']}"
    said = (
        f"Selected by {by}, over {count}, on {sweep.images:,} images that no training sees; of equal ones the first. "
        "Nothing was selected on the test images, and only what was selected is evaluated on them."
    )
    return [*notes, said]


def as_json(sweep: Sweep) -> str:
    """Everything that a plot of accuracies against settings needs, seed by seed."""
    about = {
        "format": 1, "dataset": sweep.dataset, "norm": sweep.norm, "eps": sweep.eps, "seeds": list(sweep.seeds),
        "select": sweep.select or None, "validation_images": sweep.images, "notes": list(sweep.notes),
    }  # fmt: skip
    return json.dumps(about | {"points": [_plain(point) for point in sweep.points]}, indent=2, ensure_ascii=False)


def _plain(point: Point) -> dict[str, Any]:
    measures = ("clean", "robust") if all("robust" in each for each in point.validation.values()) else ("clean",)
    scores = point.validation.items()
    validation = {name: _values({seed: each[name] for seed, each in scores}) for name in measures} if scores else None
    return {
        "defense": point.defense, "method": point.method, "settings": point.settings, "plan": point.fingerprint,
        "selected": point.selected, "failed": {str(seed): text for seed, text in point.failed.items()},
        "validation": validation, "test": _test(point),
    }  # fmt: skip


def _test(point: Point) -> dict[str, Any] | None:
    row = point.row
    if row is None:
        return None
    measured = {
        name: _values({seed: each[name] for seed, each in row.per_seed.items()}) for name in ("clean", "robust")
    }
    pgd20 = {"pgd20": _values(row.pgd20)} if row.pgd20 else {}
    commits = sorted(row.settings("commit"))
    return {"examples": row.examples, "evaluation_seed": row.evaluation_seed, "attack": row.attack,
            "verdict": row.verdict, "commits": commits, **measured, **pgd20}  # fmt: skip


def _values(by_seed: dict[int, float]) -> dict[str, Any]:
    own = dict(sorted(by_seed.items()))
    found: MeanStd = mean_std(list(own.values()))
    return {"mean": round(found.mean, 4), "std": None if found.std is None else round(found.std, 4),
            "per_seed": {str(seed): round(value, 4) for seed, value in own.items()}}  # fmt: skip
