"""Tables: what is ranked among what, and what is bold."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from measured_entries import BOLD, MNIST, column, one, ours
from numpy.typing import NDArray

from robench_fire.statistics.summary import MeanStd, percent
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import PUBLISHED, REEVALUATED, Entry, published
from robench_fire.tables.marks import best
from robench_fire.tables.render import render
from robench_fire.tables.table import Table, tables


def ranks(found: Table) -> dict[str, int]:
    return {each.method: rank for each, rank in zip(found.entries, found.ranks, strict=True)}


def mnist(method: str, robust: float, **changes: Any) -> Entry:
    return ours(method, robust, 99.2, "mnist", "0.3", [0.0] * 5, **changes)


def test_ours_take_the_rank_that_they_would_have_among_the_published() -> None:
    found = one(mnist("A", 94.44), mnist("B", 95.0), mnist("C", 99.0), mnist("D", 80.0), shown=Shown(published=True))
    assert ranks(found) == {**MNIST, "A": 2, "B": 2, "C": 1, "D": 6}
    assert [each.method for each in found.entries] == [
        "C", "Gowal2020Uncovering", "B", "A", "Zhang2019Theoretically", "Atzmon2019Controlling", "Madry2018Towards",
        "Wong2020Fast", "D",
    ]  # fmt: skip
    assert column(found, "Method")["B"] == "B (ours)"
    assert column(found, "Method")["Wong2020Fast"] == "Wong2020Fast"
    bold, remark = found.remarks
    assert bold == BOLD
    assert remark.startswith("5 entries are published figures (AutoAttack README)")


@given(st.lists(st.floats(60, 100), min_size=1, max_size=4))
def test_no_entry_of_ours_moves_another(values: list[float]) -> None:
    found = one(*(mnist(f"ours {number}", value) for number, value in enumerate(values)), shown=Shown(published=True))
    theirs = [each.score for each in published() if each.dataset == "mnist"]
    expected = {f"ours {number}": 1 + sum(each > of.score for each in theirs)
                for number, of in enumerate(mnist("", value) for value in values)}  # fmt: skip
    assert ranks(found) == {**MNIST, **expected}


masks = st.tuples(st.integers(1, 6), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, (2, *shape)))


@given(masks)
def test_means_and_stds_are_those_of_pandas(found: NDArray[np.bool_]) -> None:
    """Of the accuracies of any masks (clean and robust, seeds, images), to the digits that are written."""
    seeds = [
        {"clean": percent(one), "robust": percent(other), "train_seconds": 60.0} for one, other in found.swapaxes(0, 1)
    ]
    (line,) = csv.DictReader(io.StringIO(render([ours(per_seed=dict(enumerate(seeds)))], "csv")))
    each = pd.DataFrame({"clean": 100 * found[0].mean(1), "autoattack": 100 * found[1].mean(1)})
    each["average"] = each.mean(axis=1)
    for name, values in each.items():
        assert float(line[f"{name}_mean"]) == pytest.approx(values.mean(), abs=5.1e-5)
        assert float(line[f"{name}_std"] or "nan") == pytest.approx(values.std(), abs=5.1e-5, nan_ok=True)


def test_a_published_value_that_ours_equals_is_not_above_it() -> None:
    assert ranks(one(mnist("A", 92.81), shown=Shown(published=True)))["A"] == 2


def test_published_rows_are_ranked_by_the_best_known_robust_accuracy() -> None:
    found = one(ours(robust=10.0), shown=Shown(published=True))
    assert found.entries[0].score == max(each.score for each in found.entries)
    scores = [each.score for each in found.entries]
    assert scores == sorted(scores, reverse=True)
    place = {each.key: number for number, each in enumerate(found.entries)}
    assert found.entries[place["Xiao2020Enhancing"]].robust == MeanStd(18.5, None, 1)  # and 7.40 by a stronger attack
    assert place["Xiao2020Enhancing"] == place["Picot2021Adversarial"] + 1
    assert ranks(found)["FIRE"] == 1 + sum(each.score > 10 and each.origin == PUBLISHED for each in found.entries)


def test_without_published_rows_ranks_are_places() -> None:
    found = one(ours("A", 50.0, spread=[0.0] * 5), ours("B", 52.0), ours("C", 50.0, spread=[0.0] * 5), ours("D", 40.0))
    assert ranks(found) == {"B": 1, "A": 2, "C": 2, "D": 4}
    assert found.remarks == [BOLD]
    assert column(found, "Method") == {name: name for name in "ABCD"}


def test_what_was_not_attacked_by_autoattack_comes_last() -> None:
    found = one(ours("A", 90.0, attack="pgd20"), ours("B", 20.0))
    assert ranks(found) == {"B": 1, "A": 2}
    assert column(found, "AutoAttack")["A"] == column(found, "Average")["A"] == "–"
    assert "PGD-20" in found.columns
    assert "PGD-20" not in one(ours("B")).columns
    assert ranks(one(mnist("A", 99.0, attack="pgd20"), shown=Shown(published=True)))["A"] == 6


def test_only_entries_of_one_setting_share_a_table() -> None:
    settings: list[dict[str, Any]] = [
        {}, {"dataset": "cifar100"}, {"eps": "0.031"}, {"examples": 1000}, {"evaluation_seed": 3},
        {"norm": "L2", "eps": "0.5"},
    ]  # fmt: skip
    given = [ours(method, **each) for each in settings for method in "AB"]
    found = list(tables(given))
    assert [sorted(each.method for each in table.entries) for table in found] == [["A", "B"]] * len(settings)
    assert [table.title for table in found] == [
        "cifar10, L2, eps 0.5, 300 test images",
        "cifar10, Linf, eps 0.031, 300 test images",
        "cifar10, Linf, eps 8/255, 300 test images",
        "cifar10, Linf, eps 8/255, 300 test images, evaluation seed 3",
        "cifar10, Linf, eps 8/255, 1,000 test images",
        "cifar100, Linf, eps 8/255, 300 test images",
    ]
    assert [table.title for table in tables(given[::-1])] == [table.title for table in found]
    assert list(tables([])) == []


def test_published_rows_join_every_table_that_they_compare_with() -> None:
    mine = [ours(), ours(eps="0.031"), ours(eps="2/255"), ours(dataset="digits", eps="0.2")]
    found = list(tables(mine, shown=Shown(published=True)))
    assert [len(table.entries) for table in found] == [1, 100 + 8, 100 + 8, 1]


def test_weights_of_robustbench_evaluated_here_are_ranked_as_ours() -> None:
    again = replace(mnist("Again", 95.0), origin=REEVALUATED, row=None)
    found = one(again, mnist("A", 94.0), shown=Shown(published=True))
    assert ranks(found) == {**MNIST, "Again": 2, "A": 2}
    assert column(found, "Method")["Again"].startswith("Again")
    assert "(ours)" not in column(found, "Method")["Again"]
    assert column(found, "Seeds") == {**dict.fromkeys(MNIST, "–"), "Again": "–", "A": "5"}


def test_the_best_and_those_within_noise_of_it_are_best() -> None:
    found = one(ours("A", 50.0, 80.0), ours("B", 50.5, 90.0), ours("C", 40.0, 89.8))
    assert dict(zip("BAC", found.best, strict=True)) == {
        "B": {"AutoAttack", "Clean", "Average"}, "A": {"AutoAttack"}, "C": {"Clean"},
    }  # fmt: skip


def test_of_values_without_spread_only_those_that_look_the_same_are_best() -> None:
    again = replace(mnist("Again", 92.814), origin=REEVALUATED, row=None)
    entries = [again, *(each for each in published() if each.dataset == "mnist" and each.key != "Gowal2020Uncovering")]
    found = dict(zip((each.method for each in entries), best(entries), strict=True))
    assert found["Again"] >= {"AutoAttack"} <= found["Zhang2019Theoretically"]
    assert "Clean" not in found["Again"]
    assert [name for name, each in found.items() if "Clean" in each] == ["Zhang2019Theoretically"]


def test_what_is_not_to_be_believed_is_not_best() -> None:
    again = replace(ours("Again", 60.0), origin=REEVALUATED, row=None)
    entries = [again, ours("A", 50.0), ours("B", 40.0)]
    assert ["AutoAttack" in each for each in best(entries)] == [True, False, False]
    doubts: list[dict[str, Any]] = [{"best_known": 1.0}, {"unreliable": True}]
    for doubt in doubts:
        entries[0] = replace(again, **doubt)
        assert [each & {"AutoAttack", "Average"} for each in best(entries)] == [set(), {"AutoAttack", "Average"}, set()]
        assert "Clean" in best(entries)[0]


def test_a_single_value_is_never_best() -> None:
    assert one(ours()).best == [set()]
    found = one(ours("A"), ours("B", 20.0, attack="pgd20"))
    assert found.best == [{"Clean"}, {"Clean"}]


def test_one_plan_from_two_places_says_which_is_whose() -> None:
    board, mine = (replace(ours("FIRE", robust), place=place) for robust, place in ((50.0, "board"), (51.0, "runs")))
    found = one(board, mine)
    assert found.notes == ["This FIRE: from runs.", "This FIRE: from board."]
    assert one(board).notes == []


def test_a_radius_written_otherwise_shares_the_table() -> None:
    (found,) = tables([ours(eps="8/255"), ours("B", eps="16/510")])
    assert len(found.entries) == 2
