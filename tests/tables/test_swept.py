"""A sweep as a table: its columns, its order, its notes, and what is said of selection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from measured_entries import FIRE

from robench_fire.boards.sweeps import Point, Sweep
from robench_fire.tables.formats import markdown
from robench_fire.tables.swept import swept_tables
from robench_fire.tables.table import Table


def point(lam: float, robust: float | None, **changes: Any) -> Point:
    """A point with two seeds; ``robust`` None: not evaluated on the test images."""
    row = None
    if robust is not None:
        values = {seed: {"clean": 90.0, "robust": robust + seed, "train_seconds": 5.0} for seed in (0, 1)}
        facts = FIRE.facts | {"by_hand": {"defense.lam": lam, "recipe.batch_size": 64}}
        row = replace(FIRE, fingerprint=f"plan{lam}", per_seed=values, facts=facts, pgd20={})
    validation = {seed: {"clean": 95.0 + seed, "robust": 60.0 + seed} for seed in (0, 1)}
    made = Point(defense="fire", method="FIRE", fingerprint=f"plan{lam}", settings={"defense.lam": lam}, failed={},
                 validation=validation, row=row)  # fmt: skip
    return replace(made, **changes)


def table(*points: Point, select: str = "", **changes: Any) -> Table:
    about: dict[str, Any] = {"dataset": "digits", "norm": "Linf", "eps": "0.2", "seeds": (0, 1), "images": 100}
    (found,) = swept_tables(Sweep(points=points, select=select, **(about | changes)))
    return found


def column(found: Table, name: str) -> list[str]:
    return [cells[found.columns.index(name)] for cells in found.cells]


def test_lines_stand_in_the_order_of_the_sweep_and_keep_their_ranks() -> None:
    found = table(point(1.0, 40.0), point(0.5, 60.0), point(16.0, 50.0))
    assert found.columns[:4] == ["#", "Method", "lam", "Architecture"]
    assert (column(found, "lam"), column(found, "#")) == (["1", "0.5", "16"], ["3", "1", "2"])
    assert column(found, "AutoAttack") == ["40.50 ± 0.71", "60.50 ± 0.71", "50.50 ± 0.71"]
    assert column(found, "Method") == ["FIRE"] * 3


def test_what_the_columns_say_is_in_no_note() -> None:
    said = "\n".join(table(point(1.0, 40.0), point(2.0, 60.0)).remarks)
    assert "recipe.batch_size 64" in said
    assert "defense.lam" not in said


def test_notes_are_numbered_as_they_are_met() -> None:
    first, best = point(1.0, 40.0), point(2.0, 60.0)
    assert first.row is not None
    first, best = (replace(each, row=replace(each.row, unfinished=(seed,)))
                   for each, seed in ((first, 3), (best, 4)))  # fmt: skip
    found = table(first, best, point(4.0, None, failed={0: "it diverged", 1: "it diverged"}))
    assert column(found, "Method") == ["FIRE [1]", "FIRE [2]", "FIRE [3]"]
    assert found.notes == [
        "Seed 3 not trained to the end, or not evaluated alike.",
        "Seed 4 not trained to the end, or not evaluated alike.",
        "Seed 0, 1: it diverged.",
    ]


def test_validation_stands_beside_what_was_selected_by_it() -> None:
    found = table(point(1.0, None), point(2.0, 60.0, selected=True), select="robust")
    assert column(found, "Val. robust") == ["60.50 ± 0.71"] * 2
    assert column(found, "Selected") == ["–", "yes"]
    assert column(found, "AutoAttack") == ["–", "60.50 ± 0.71"]
    assert found.remarks[-1] == (
        "Selected by mean validation robust accuracy (training attack), over 2 seeds, on 100 images that no training "
        "sees; of equal ones the first. Nothing was selected on the test images, and only what was selected is "
        "evaluated on them."
    )


@pytest.mark.parametrize("select", ["", "clean"])
def test_a_sweep_says_how_it_selects(select: str) -> None:
    found = table(point(1.0, 40.0, selected=bool(select)), select=select)
    assert ("nothing was selected" in found.remarks[-1]) is not bool(select)
    assert ("Val. clean" in found.columns) is bool(select)


def test_a_sweep_that_was_not_evaluated_is_a_table_too() -> None:
    found = table(point(1.0, None), point(2.0, None), select="average")
    assert found.title == "digits, Linf, eps 0.2"
    assert found.columns == ["Method", "lam", "Val. clean", "Val. robust", "Selected"]
    text = markdown(found)
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_evaluations_that_do_not_compare_are_tables_of_their_own() -> None:
    fewer = point(2.0, 60.0)
    assert fewer.row is not None
    made = swept_tables(Sweep(dataset="digits", norm="Linf", eps="0.2", seeds=(0, 1), select="", images=100, points=(
        point(1.0, 40.0), replace(fewer, row=replace(fewer.row, examples=10)), point(4.0, None),
    )))  # fmt: skip
    assert sorted(cells for each in made for cells in map(tuple, [column(each, "lam")])) == [("1",), ("2", "4")]
