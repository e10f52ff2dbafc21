"""Which evaluations of a plan's seeds make one row: those that are alike, in the test set's own order first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from written_runs import write_run

from robench_fire.boards.rows import collect
from robench_fire.runs.compose import Request
from robench_fire.runs.evaluations import evaluation_name, pick, shared_evaluation

CLAIM = {"kind": "Linf", "eps": "0.2"}


def evaluation(**changes: Any) -> dict[str, Any]:
    usual = {"attack": "aa", "norm": "Linf", "eps": "0.2", "examples": 300, "seed": 0, "batch_size": 500}
    return usual | changes


MIXED = evaluation(order="shuffled", batch_size=15)


def test_those_in_another_order_are_not_alike() -> None:
    both = evaluation(order="shuffled")
    found = {0: [evaluation(), MIXED], 1: [MIXED], 2: [both]}
    chosen = shared_evaluation(CLAIM, found)
    assert chosen == ("aa", 300, 0, 15, "shuffled")
    assert [pick(each, CLAIM, chosen) for each in found.values()] == [MIXED, MIXED, None]


def test_the_own_order_comes_first_where_as_many_have_it() -> None:
    chosen = shared_evaluation(CLAIM, {0: [MIXED, evaluation()], 1: [evaluation(), MIXED]})
    assert chosen == ("aa", 300, 0, 500, "")
    assert shared_evaluation(CLAIM, {0: [MIXED], 1: [MIXED, evaluation(attack="pgd20")]}) == (
        "aa", 300, 0, 15, "shuffled",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ((), "aa-Linf-8_255-1000"),
        ((3, 100), "aa-Linf-8_255-1000-seed3-batch100"),
        ((0, 100, "shuffled"), "aa-Linf-8_255-1000-batch100-shuffled"),
    ],
)
def test_a_name_says_what_is_not_usual(more: tuple[Any, ...], name: str) -> None:
    assert evaluation_name("aa", "Linf", "8/255", 1000, *(more or (0,))) == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (("aa", "Linf", "8/255", 1000, 0, 500), "aa-Linf-8_255-1000"),
        (("aa", "Linf", "8/255", 1000, 3, 500), "aa-Linf-8_255-1000-seed3"),
        (("aa", "Linf", "8/255", 1000, 0, 250), "aa-Linf-8_255-1000-batch250"),
        (("aa", "Linf", "8/255", 1000, 3, 1000), "aa-Linf-8_255-1000-seed3-batch1000"),
        (("pgd20", "L2", "0.5", 10_000, 0, 500), "pgd20-L2-0.5-10000"),
    ],
)
def test_the_name_of_an_evaluation(given: tuple[str, str, str, int, int, int], name: str) -> None:
    assert evaluation_name(*given) == name


@pytest.mark.parametrize("order", ["", "shuffled"])
def test_a_row_keeps_the_order_of_its_images(tmp_path: Path, order: str) -> None:
    """Without which AutoAttack's result cannot be made again: random streams are by block."""
    write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90, 50, **({"order": order} if order else {}))
    (row,) = collect(tmp_path)
    assert row.facts.get("evaluation_order", "") == order
