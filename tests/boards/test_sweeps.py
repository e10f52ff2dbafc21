"""Which point of a sweep is selected, and what its columns are called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from robench_fire.boards.sweeps import Point, Sweep, selected


def point(lam: float, clean: list[float], robust: list[float], defense: str = "fire", **changes: Any) -> Point:
    validation = {seed: {"clean": c, "robust": r} for seed, (c, r) in enumerate(zip(clean, robust, strict=True))}
    made = Point(defense=defense, method=defense.upper(), fingerprint=f"{defense}{lam}",
                 settings={"defense.beta" if defense == "trades" else "defense.lam": lam}, validation=validation,
                 failed={})  # fmt: skip
    return replace(made, **changes)


POINTS = [
    point(1, [99, 99], [40, 42]), point(2, [95, 95], [50, 46]), point(4, [97, 96], [49, 46]),
    point(1, [90, 90], [10, 10], "trades"), point(2, [80, 80], [10, 10], "trades"),
]  # fmt: skip


def chosen(points: list[Point], measure: str) -> list[tuple[str, object]]:
    found = selected(points, [0, 1], measure)
    return [(each.defense, next(iter(each.settings.values()))) for each in found if each.selected]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("robust", [("fire", 2), ("trades", 1)]), ("clean", [("fire", 1), ("trades", 1)]),
     ("average", [("fire", 4), ("trades", 1)])],
)  # fmt: skip
def test_the_best_mean_of_each_defense_is_selected(measure: str, expected: list[tuple[str, object]]) -> None:
    """Of TRADES' two, which are equally robust, the first."""
    assert chosen(POINTS, measure) == expected


def test_a_point_without_all_of_its_seeds_is_not_selected() -> None:
    diverged = point(8, [99], [99], failed={1: "the loss is not finite at step 3"})
    assert chosen([diverged, *POINTS[:3]], "robust") == [("fire", 2)]
    assert chosen([diverged], "robust") == []


def test_columns_are_called_by_what_is_swept() -> None:
    about: dict[str, Any] = {"dataset": "digits", "norm": "Linf", "eps": "0.2", "seeds": (0, 1), "select": "",
                             "images": 100}  # fmt: skip
    assert Sweep(points=tuple(POINTS), **about).columns == ["lam/beta"]
    both = replace(POINTS[0], settings={"recipe.attack.steps": 5, "threat.eps": "0.1"})
    assert Sweep(points=(both,), **about).columns == ["steps", "threat.eps"]
