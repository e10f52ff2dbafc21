"""Boards: rows follow from their masks and plans, tables beside them from the rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ran
from repository import BOARDS
from verified_runs import seeds, verified, wrong

from robench_fire.boards.rows import collect
from robench_fire.errors import DataError
from robench_fire.files import SEAL, digest, write_json, write_text
from robench_fire.statistics.masks import packed, unpacked
from robench_fire.tables.entries import entries_in
from robench_fire.tables.render import publish, render
from robench_fire.verification.tables import tables

OURS = "robench_fire"
Edit = Callable[[dict[str, Any]], None]
"""What is done to the JSON of a row."""


@pytest.fixture
def row(made: Path, tmp_path: Path) -> Path:
    """A row just published, with its tables."""
    path, *_ = publish(collect(made), tmp_path / "board")
    write_text(path.parent.with_name("Linf.csv"), render(entries_in([path.parent]), "csv") + "\n")
    return path


def told(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_published_row_and_its_tables_agree(row: Path) -> None:
    found = verified(row.parents[2])
    assert {(each.what, each.passed) for each in found} == {
        (what, True) for what in ("row", "plan", "aggregates", "masks", "test images", "code and weights", "table")
    }
    assert sum(each.what == "table" for each in found) == 3


def test_a_row_names_the_hashes_of_what_it_is_made_of(row: Path, made: Path) -> None:
    own, facts = told(row)[OURS], [run.read("train.json") for run in seeds(made)]
    assert own["weights_sha256"] == {str(seed): each["weights_sha256"] for seed, each in enumerate(facts)}
    assert own["fingerprint"] == digest(own["plan"])[:12]
    assert [len(own[name]) for name in ("images_sha256", "masks_sha256", "evaluation_code")] == [1, 2, 1]
    assert {len(session["code"]) for sessions in own["sessions"].values() for session in sessions} == {64}


def by(*keys: str, value: Any) -> Edit:
    def edit(info: dict[str, Any]) -> None:
        at = info[OURS]
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value

    return edit


def one_image_more(info: dict[str, Any]) -> None:
    """Another image stands in a mask, and one less: no accuracy changes."""
    own = info[OURS]
    mask = unpacked(own["masks"]["0"]["robust"], own["examples"])
    stands, fallen = np.flatnonzero(mask)[0], np.flatnonzero(~mask)[0]
    mask[[stands, fallen]] = mask[[fallen, stands]]
    own["masks"]["0"]["robust"] = packed(mask)


FORGED: dict[str, tuple[Edit, str, str]] = {
    "robust accuracy": (by("seeds", "0", "robust", value=97.5), "row", "was changed by hand: its autoattack_acc is"),
    "std": (by("std", "clean", value=0.1), "aggregates", "std of clean is 0.1, not "),
    "interval": (by("evaluator", "robust_intervals", "0", value=[0, 100]), "aggregates", "seed 0's upper end is 100"),
    "PGD-20": (by("pgd20", "0", value=51.0), "aggregates", "seed 0's PGD-20 accuracy of 51.0 % is no number of 40 im"),
    "a mask": (one_image_more, "masks", "seed 0"),
    "test images": (by("images_sha256", value=["0" * 64]), "test images", "images_sha256 is 0000"),
    "two sets of images": (by("images_sha256", value=["0" * 64, "1" * 64]), "test images", "on 2 sets of images"),
    "plan": (by("plan", "recipe", "epochs", value=99), "row", "its fingerprint is "),
    "a missing mask's hash": (by("masks_sha256", "1", value="0" * 64), "masks", "seed 1's SHA-256 is "),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "what", "said"), FORGED.values(), ids=list(FORGED))
def test_a_row_that_was_edited_and_sealed_again_is_found(row: Path, edit: Edit, what: str, said: str) -> None:
    info = told(row)
    edit(info)
    del info[OURS][SEAL]
    info[OURS][SEAL] = digest(info)
    write_json(row, info)
    assert said in wrong(verified(row))[what]


def test_what_only_the_seal_knows_is_found_by_tables_too(row: Path) -> None:
    info = told(row)
    by("seeds", "0", "train_seconds", value=1.0)(info)
    write_json(row, info)
    assert "its seal is " in wrong(verified(row))["row"]
    with pytest.raises(DataError, match="was changed by hand: its seal is "):
        entries_in([row])


def test_a_row_whose_seal_has_another_name_is_found(row: Path) -> None:
    write_text(row, row.read_text(encoding="utf-8").replace('"seal"', '"sead"'))
    assert "its seal has another name" in wrong(verified(row))["row"]


@pytest.mark.parametrize("style", ["md", "html", "csv"])
def test_a_digit_of_a_published_table_is_found(row: Path, style: str) -> None:
    path = row.parent.with_name(f"Linf.{style}")
    text, clean = path.read_text(encoding="utf-8"), told(row)["clean_acc"]
    assert clean in text
    write_text(path, text.replace(clean, "99.99"))
    found = wrong(verified(row.parents[2]))
    assert set(found) == {"table"}
    assert f"Linf.{style}: it says " in found["table"]
    assert "99.99" in found["table"]


def test_a_byte_of_a_row_is_found_or_without_effect(row: Path) -> None:
    """300 places, drawn by a seed; exceptions are those of test_every_byte.py."""
    before, values = row.read_bytes(), digest(told(row))
    draw = np.random.default_rng(0)
    for place in draw.integers(len(before), size=300):
        after = bytearray(before)
        after[place] = (after[place] + draw.integers(1, 256)) % 256
        row.write_bytes(after)
        assert wrong(verified(row)) or digest(told(row)) == values, place


@pytest.mark.parametrize("style", ["md", "html", "csv"])
def test_any_digit_of_a_published_table_is_found(row: Path, style: str) -> None:
    """But those of a page's drawing, style and script."""
    path = row.parent.with_name(f"Linf.{style}")
    before = path.read_text(encoding="utf-8")
    free = [found.span() for found in re.finditer(r"<(figure|style|script)>.*?</\1>", before, flags=re.DOTALL)]
    places = [found.start() for found in re.finditer(r"\d", before)]
    kept = [place for place in places if not any(first <= place < last for first, last in free)]
    assert len(kept) > 40
    for place in np.random.default_rng(0).permutation(kept)[:60]:
        other = str((int(before[place]) + 1) % 10)
        write_text(path, before[:place] + other + before[place + 1 :])
        assert {each.passed for each in tables(row.parent) if each.file == str(path)} == {False}, before[place - 30 :][
            :60
        ]


@pytest.mark.parametrize("style", ["md", "html"])
def test_a_sentence_may_be_worded_as_it_once_was_but_not_say_other_numbers(row: Path, style: str) -> None:
    path = row.parent.with_name(f"Linf.{style}")
    text = path.read_text(encoding="utf-8")
    said = "2 of 5 seeds"
    write_text(path, text.replace(said, "2 from 5 seeds"))
    found = [each for each in verified(row.parents[2]) if each.file == str(path)]
    assert [(each.passed, "another version's" in each.found) for each in found] == [(None, True)]
    write_text(path, text.replace(said, "4 of 5 seeds"))
    assert "says 4 where its rows give 2" in wrong(verified(row.parents[2]))["table"]


def test_committed_boards_agree() -> None:
    found = verified(BOARDS)
    assert wrong(found) == {}
    assert {each.what for each in found if each.passed is None} <= {"row", "masks", "test images", "code and weights"}
    assert {each.passed for each in found if each.what in ("plan", "aggregates", "table")} == {True}


def test_the_command_says_what_a_board_does_not_record(tmp_path: Path) -> None:
    out = ran(tmp_path, "verify", str(BOARDS / "cifar10")).stdout
    assert "Not recorded: masks, " in out
    assert "and 6 more: no masks of seed 0, 1 are recorded" in out
