"""table and compare: the numbers that the commands print, as data frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import ran
from repository import BOARDS, DIGITS_BOARD

import robench_fire as rb


def test_a_table_has_the_numbers_of_the_command(tmp_path: Path) -> None:
    rows = json.loads(ran(tmp_path, "table", str(DIGITS_BOARD), "-f", "json").stdout)["rows"]
    found = rb.table(DIGITS_BOARD)
    assert list(found.columns[:8]) == [
        "method", "architecture", "clean", "clean_std", "robust", "robust_std", "seeds", "examples",
    ]  # fmt: skip
    assert [f"{each:.2f}" for each in found["robust"]] == [row["autoattack_acc"] for row in rows]
    assert [f"{each:.2f}" for each in found["clean"]] == [row["clean_acc"] for row in rows]
    assert list(found["robust_std"]) == pytest.approx([row["robench_fire"]["std"]["robust"] for row in rows])
    assert list(found["fingerprint"]) == [row["robench_fire"]["fingerprint"] for row in rows]
    assert list(found["seeds"]) == [len(row["robench_fire"]["seeds"]) for row in rows]
    assert found["robust"].is_monotonic_decreasing


def test_options_choose_rows_and_columns() -> None:
    board = DIGITS_BOARD
    assert list(rb.table(board, only="fire")["key"]) == ["Picot2021Adversarial"]
    assert list(rb.table(board, only=["trades", "fire"], label={"FIRE": "ours"})["method"].sort_values()) == [
        "TRADES", "ours",
    ]  # fmt: skip
    each = rb.table(board, only="fire", per_seed=True)
    assert list(each["seed"].sort_values()) == [0, 1, 2, 3, 4]
    assert each["robust"].mean() == pytest.approx(rb.table(board, only="fire")["robust"][0])
    widths = rb.table(board, only="fire", intervals=True)
    assert (widths["robust_low"] < widths["robust"]).all()
    assert (widths["robust"] < widths["robust_high"]).all()
    assert {"device_hours", "flops"} <= {*rb.table(board, only="fire", cost=True)}
    assert {*rb.table(BOARDS / "cifar10" / "Linf", published=True)["origin"]} == {
        "ours",
        "published",
        "means of a benchmark",
    }
    strong = rb.table(BOARDS / "fire_strength" / "digits" / "Linf", where={"defense.lam": 20})
    assert list(strong["method"]) == ["FIRE lam=20"]


def test_what_is_measured_is_a_number() -> None:
    found = rb.table(BOARDS / "cifar10" / "Linf", DIGITS_BOARD, published=True)
    for name in ("clean", "clean_std", "robust", "robust_std", "pgd20", "train_seconds_std", "best_known"):
        assert found[name].dtype == np.float64


def test_comparisons_are_those_of_the_command(tmp_path: Path) -> None:
    words = ["compare", str(DIGITS_BOARD), "fire", "trades", "madry", "--json"]
    known = json.loads(ran(tmp_path, *words).stdout)["comparisons"]
    found = rb.compare(DIGITS_BOARD, "fire", "trades", "madry")
    for name in ("difference", "p", "p_holm", "images", "sentence", "seeds_needed"):
        given = [None if pd.isna(value) else value for value in found[name]]
        assert given == [each[name] for each in known]
    assert [[low, high] for low, high in zip(found["low"], found["high"], strict=True)] == [
        each["interval"] for each in known
    ]
    assert list(found["paired"]) == [each["over_images"] for each in known]
    assert [verdict != "undecided" for verdict in found["verdict"]] == [each["differs"] for each in known]
    assert list(found["other"]) == ["TRADES", "Madry"]
    assert {*found["one"]} == {"FIRE"}


def test_one_row_against_all_others() -> None:
    found = rb.compare(DIGITS_BOARD, "fire", metric="clean")
    assert len(found) == len(rb.table(DIGITS_BOARD)) - 1
    assert (found["p_holm"] >= found["p"]).all()
    assert {*found["metric"]} == {"clean"}


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    for call, said in (
        (lambda: rb.compare(DIGITS_BOARD, "fier"), "unknown row 'fier': did you mean fire"),
        (lambda: rb.compare(DIGITS_BOARD, "fire", metric="speed"), "unknown metric 'speed'"),  # type: ignore[arg-type]
        (lambda: rb.compare(tmp_path, "fire"), "holds no evaluated rows of ours"),
        (lambda: rb.compare(tmp_path / "none", "fire"), "none does not exist"),
        (lambda: rb.compare(DIGITS_BOARD / "Picot2021Adversarial.json", "fire"), "nothing to compare it with"),
        (lambda: rb.table(tmp_path / "none"), "none does not exist"),
        (lambda: rb.table(DIGITS_BOARD, only="fier"), "unknown row 'fier'"),
        (lambda: rb.table(DIGITS_BOARD, where={"defense.lambda": 6}), "^where defense.lambda=6: unknown setting"),
        (lambda: rb.table(DIGITS_BOARD, eps="much"), "^eps: 'much' is not a number"),
    ):
        with pytest.raises(rb.RobenchError, match=said):
            call()


def test_several_sources_are_one(tmp_path: Path) -> None:
    two = [DIGITS_BOARD / "Picot2021Adversarial.json", DIGITS_BOARD / "Zhang2019Theoretically.json"]
    assert list(rb.compare(two, "fire")["other"]) == ["TRADES"]
    assert len(rb.table(*two)) == 2
