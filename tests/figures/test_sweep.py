"""sweep: accuracies over the one number in which rows differ."""

from __future__ import annotations

import pytest
from altered_rows import EVERY, measured, planned
from drawn_figures import check, texts
from repository import BOARDS

from robench_fire.errors import DataError, UsageError
from robench_fire.figures import source
from robench_fire.figures.sweep import sweep
from robench_fire.tables.entries import Entry, of_row


def fire(clean: float, robust: float, **defense: object) -> Entry:
    return of_row(planned(measured(EVERY["FIRE"], clean, robust), defense=defense))


def test_the_committed_strengths() -> None:
    entries = source.entries([BOARDS / "fire_strength"])
    drawn = sweep(entries)
    check(drawn)
    rows = {row["value"]: row["percent"] for row in drawn.data if (row["kind"], row["accuracy"]) == ("mean", "robust")}
    assert rows == {each.row.plan["defense"]["lam"]: each.robust.mean for each in entries if each.row and each.robust}
    assert "the most robust mean, 56.5 %, is at 12" in drawn.said
    assert len([row for row in drawn.data if row["kind"] == "seed"]) == 2 * 5 * 5
    assert drawn.figure.axes[1].get_xscale() == "log"


def test_both_distances_are_on_one_scale() -> None:
    drawn = sweep([fire(90, 50, lam=4.0), fire(89, 51, lam=12.0), fire(88, 52, distance="geodesic")])
    check(drawn)
    assert sorted({row["value"] for row in drawn.data}) == [4.0, 12.0, 48.0]
    assert any("coefficient of θ²" in text for text in texts(drawn))


def test_several_methods_with_coefficients_of_their_own_and_others_left_out() -> None:
    trades = [of_row(planned(measured(EVERY["TRADES"], 90 - b, 50 + b), defense={"beta": b})) for b in (1.0, 2.0)]
    drawn = sweep([fire(90, 50, lam=0.0), fire(80, 55, lam=1.0), *trades, of_row(EVERY["Madry"])])
    check(drawn)
    assert {row["method"] for row in drawn.data} == {"FIRE", "TRADES"}
    assert drawn.figure.axes[1].get_xlabel() == "defense.lam or defense.beta"
    assert drawn.figure.axes[1].get_xscale() == "linear"


def test_one_seed() -> None:
    one = [of_row(planned(measured(EVERY["FIRE"], 90, 50, [0.0]), defense={"lam": lam})) for lam in (1.0, 2.0)]
    check(sweep(one))


def test_rows_that_are_no_sweep() -> None:
    with pytest.raises(DataError, match=r"robench train fire digits --set defense\.NAME=VALUE"):
        sweep([of_row(EVERY["FIRE"]), of_row(EVERY["MART"])])
    other = of_row(planned(measured(EVERY["FIRE"], 90, 50), recipe={"ema_decay": 0.9}, defense={"lam": 3.0}))
    with pytest.raises(UsageError, match=r"differ in defense\.lam and recipe\.ema_decay"):
        sweep([of_row(EVERY["FIRE"]), other])
    of_text = of_row(planned(measured(EVERY["FIRE"], 90, 50), recipe={"select": "validation"}))
    with pytest.raises(DataError, match="no method here"):
        sweep([of_row(EVERY["FIRE"]), of_text])
