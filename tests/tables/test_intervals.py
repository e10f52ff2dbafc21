"""robench table --ci and --per-seed: intervals, bold where a difference stands, Pareto-optimal rows, seeds."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import ran
from measured_entries import BOARD, column, one, ours
from repository import BOARDS

from robench_fire.comparison.interval import interval
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import Entry
from robench_fire.tables.marks import best_of_differences, pareto
from robench_fire.tables.render import render
from robench_fire.tables.table import per_seed

ALL = BOARDS / "all" / "digits" / "Linf"
INTERVALS, SEEDS = Shown(intervals=True), Shown(per_seed=True)


def without_masks(method: str, robust: float, clean: float, seconds: float = 60.0, **changes: object) -> Entry:
    """An entry without masks, as of another cost."""
    entry = ours(method, robust, clean, **changes)  # type: ignore[arg-type]
    assert entry.row is not None
    facts = {name: value for name, value in entry.row.facts.items() if name != "masks"}
    values = {seed: each | {"train_seconds": seconds} for seed, each in entry.row.per_seed.items()}
    return replace(entry, row=replace(entry.row, facts=facts, per_seed=values),
                   train_seconds=entry.train_seconds and entry.train_seconds._replace(mean=seconds))  # fmt: skip


def test_intervals_stand_in_place_of_the_std() -> None:
    found = one(*BOARD, shown=INTERVALS)
    fire = next(each for each in BOARD if each.method == "FIRE")
    assert fire.row is not None
    own = interval(fire.row, "robust")
    assert own is not None
    assert column(found, "AutoAttack")["FIRE"] == f"{own.value:.2f} ± {own.half:.2f}" != f"{fire.robust}"
    assert any(
        remark.startswith("±: the 95 % interval over training seeds and test images") for remark in found.remarks
    )
    assert not any("95 %" in remark for remark in one(*BOARD).remarks)


def test_what_an_interval_leaves_out_is_a_note_of_its_row() -> None:
    found = one(without_masks("A", 50.0, 80.0), without_masks("B", 50.0, 80.0, spread=[0.0]), shown=INTERVALS)
    notes = {
        each.method: [found.notes[n - 1] for n in own] for each, own in zip(found.entries, found.marks, strict=True)
    }
    assert "± is over seeds alone: its file has no masks." in notes["A"]
    assert "± is over images alone: of a single seed, or of seeds that all agree." in notes["B"]


def test_bold_is_where_a_difference_stands() -> None:
    near, far = without_masks("B", 50.2, 80.0), without_masks("C", 20.0, 80.0)
    found = best_of_differences([without_masks("A", 50.0, 80.0), near, far])
    assert found == [{"AutoAttack", "Average"}, {"AutoAttack", "Average"}, set()]
    assert best_of_differences([without_masks("A", 50.0, 80.0), near]) == [set(), set()]  # nothing stands
    assert best_of_differences([without_masks("A", 50.0, 80.0)]) == [set()]
    doubtful = replace(without_masks("A", 60.0, 80.0), unreliable=True)
    assert best_of_differences([doubtful, near, far])[0] == set()
    single = without_masks("D", 90.0, 99.0, spread=[0.0])  # nothing says how far it varies
    assert best_of_differences([single, near, far])[0] == set()


def test_the_committed_board_has_its_bold_by_differences() -> None:
    text = render(BOARD, "md", INTERVALS)
    assert "(difference over seeds and images, Holm's correction, 5 %; nothing where that is all)" in text
    assert text.count("**") > 2


def test_pareto_optimal_rows_are_marked() -> None:
    measured = {"A": (50.0, 80.0, 60.0), "B": (49.0, 80.0, 60.0), "C": (40.0, 70.0, 10.0), "D": (50.0, 80.0, 60.0)}
    entries = [without_masks(name, *values) for name, values in measured.items()]
    assert pareto(entries) == [True, False, True, True]
    found = one(*entries, shown=INTERVALS)
    assert {each.split()[0] for each in column(found, "Method").values()} == {"A*", "B", "C*", "D*"}
    assert any(remark.startswith("*: no other row") for remark in found.remarks)
    assert not any("*" in each for each in column(one(*entries), "Method").values())
    assert pareto([replace(entries[0], robust=None), entries[1]]) == [False, True]


def test_each_seed_is_a_line() -> None:
    entry = next(each for each in BOARD if each.method == "TRADES")
    assert entry.row is not None
    found = one(entry, shown=SEEDS)
    place = [found.columns.index(name) for name in ("Seed", "Clean", "AutoAttack")]
    shown = [[cells[at] for at in place] for cells in found.cells]
    assert shown == [
        [str(seed), f"{own['clean']:.2f}", f"{own['robust']:.2f}"] for seed, own in sorted(entry.row.per_seed.items())
    ]
    assert found.best == [set()] * 5
    assert [len(own) for own in found.marks] == [0, 1, 0, 0, 0]  # the one that is unreliable
    assert found.notes[0].startswith("Unreliable, seed 1")
    assert not any("of 5 seeds" in note for note in found.notes)


def test_a_seeds_interval_is_over_its_images() -> None:
    found = one(BOARD[0], shown=Shown(intervals=True, per_seed=True))
    assert all(" ± " in cells[found.columns.index("Clean")] for cells in found.cells)
    assert "± is over images alone: of a single seed, or of seeds that all agree." in found.notes


@pytest.mark.parametrize("style", ["terminal", "md", "latex", "html", "csv", "json"])
def test_every_format_shows_them(style: str, tmp_path: Path) -> None:
    found = ran(tmp_path, "table", str(ALL), "--ci", "--per-seed", "--format", style)
    assert found.stdout
    assert not found.stderr


def test_csv_and_json_have_the_ends() -> None:
    (first, *_) = csv.DictReader(io.StringIO(render(BOARD, "csv", INTERVALS)))
    assert float(first["robust_low"]) < float(first["autoattack_mean"]) < float(first["robust_high"])
    seeds = list(csv.DictReader(io.StringIO(render(BOARD, "csv", SEEDS))))
    assert [each["seed"] for each in seeds[:5]] == ["0", "1", "2", "3", "4"]
    row = json.loads(render(BOARD, "json", INTERVALS))["rows"][0]
    assert set(row["intervals"]["average"]) == {"low", "high", "over"}
    assert "intervals" not in json.loads(render(BOARD, "json"))["rows"][0]


def test_a_seed_as_an_entry_keeps_what_is_its_own() -> None:
    for entry in per_seed(BOARD[0]):
        assert entry.row is not None
        assert set(entry.row.per_seed) == {entry.seed}
        assert set(entry.row.facts["masks"]) == set(entry.row.facts["verdicts"]) == {str(entry.seed)}
        assert entry.method == BOARD[0].method


def test_filters_and_labels_of_the_command(tmp_path: Path) -> None:
    board = str(BOARDS / "digits")
    found = ran(tmp_path, "table", board, "--only", "fire,mart", "--label", "FIRE=FIRE of ours", "--format", "csv")
    assert sorted(each["method"] for each in csv.DictReader(io.StringIO(found.stdout))) == ["FIRE of ours", "MART"]
    found = ran(tmp_path, "table", board, "--where", "defense.lam=12", "--format", "csv")
    assert [each["method"] for each in csv.DictReader(io.StringIO(found.stdout))] == ["FIRE+SA", "FIRE"]
    for words, said in {
        ("--only", "tirades"): "did you mean trades",
        ("--where", "defense.lam=13"): "no row has defense.lam=13",
        ("--where", "defense.lamb=1"): "did you mean defense.lam",
        ("--label", "FIRE"): "expected ROW=LABEL",
        ("--label", "FIRE=MART"): "another row is called that",
    }.items():
        assert said in ran(tmp_path, "table", board, *words, code=2).stderr
