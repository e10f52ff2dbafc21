"""A training that failed though it came to its end."""

from __future__ import annotations

import pytest

from robench_fire.statistics.curves import signs


def curve(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"epoch": n, "clean": clean, "robust": robust} for n, (clean, robust) in enumerate(pairs, 1)]


FINE = {
    "learns": curve((20, 10), (50, 30), (80, 50)),
    "robust overfitting": curve((60, 45), (75, 50), (85, 42)),
    "everything falls": curve((60, 45), (70, 50), (12, 9)),
    "begins at chance": curve((10, 9), (10, 9), (10, 9), (35, 20)),
    "an early end at chance": curve((10, 9), (10, 9)),
    "few points of few": curve((40, 12), (60, 4)),
}


@pytest.mark.parametrize("name", FINE)
def test_no_sign(name: str) -> None:
    assert signs(FINE[name], 10) == []


def test_chance() -> None:
    assert signs(curve((50, 30), (10, 9), (11, 9), (10, 10)), 10) == [
        "its validation accuracy is near chance, 10.0 % of 10 classes"
    ]
    assert signs(curve((50, 30), (10, 9), (11, 9), (10, 10)), 100) == []
    assert signs([{"epoch": n, "clean": 51.0} for n in range(3)], 2) != []  # of a recipe without an attack


def test_catastrophic_overfitting() -> None:
    assert signs(curve((60, 35), (70, 40.25), (85, 3.5)), 10) == [
        "catastrophic overfitting, robust accuracy on validation images fell from 40.2 % in epoch 2 to 3.5 %"
    ]


def both(*rows: tuple[float, float, float]) -> list[dict[str, float]]:
    """Of a training with one step: clean accuracy, under ten steps, under one."""
    return [row | {"one_step": one} for row, (*_, one) in zip(curve(*(each[:2] for each in rows)), rows, strict=True)]


def test_accuracy_under_one_step_that_does_not_fall_with_that_under_ten() -> None:
    """Though clean accuracy falls, too."""
    assert signs(both((60, 35, 42), (70, 40, 50), (65, 3.5, 81)), 10) == [
        "catastrophic overfitting, robust accuracy on validation images fell from 40.0 % in epoch 2 to 3.5 %, while "
        "that under the training attack's one step went from 50.0 to 81.0 %"
    ]
    assert signs(both((60, 35, 42), (70, 40, 50), (65, 3.5, 30)), 10) == []  # all of it falls


def test_accuracy_under_one_step_that_was_never_there_under_ten() -> None:
    assert signs(both((40, 0, 7), (60, 2, 50), (60, 1, 84)), 10) == [
        "overfitted to the training attack's one step, under which 84.0 % of the validation images are right and 1.0 % "
        "under ten steps"
    ]


def test_one_step_is_weaker_than_ten() -> None:
    """By some points, in a training like any other."""
    assert signs(both((60, 35, 42), (70, 40, 50), (85, 42, 62)), 10) == []
    assert signs(both((20, 0, 12), (30, 1, 25), (35, 2, 31)), 10) == []


def test_nothing_was_trained() -> None:
    assert signs([], 10) == []
