"""The grid of a sweep: which plans it makes, and which settings it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robench_fire.errors import RobenchError
from robench_fire.problem.plan import fingerprint
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.grid import GridPoint, axes, grid, renamed, weight


def points(defenses: str, *over: str, **asked: object) -> list[GridPoint]:
    requests = [replace(Request(defense=each, dataset="digits"), **asked) for each in defenses.split(",") if each]
    return grid(requests, axes(over))


def test_every_combination_of_every_defense_in_the_order_that_was_asked_for() -> None:
    found = points("trades,madry", "recipe.epochs=20,10", "recipe.optimiser.lr=0.1,0.2")
    assert [(each.composed.plan.name, *each.values.values()) for each in found] == [
        (name, epochs, lr) for name in ("trades", "madry") for epochs in (20, 10) for lr in (0.1, 0.2)
    ]
    assert [each.request.swept for each in found][:2] == ["epochs=20 lr=0.1", "epochs=20 lr=0.2"]


def test_a_point_is_the_plan_that_set_makes() -> None:
    (_, found) = points("fire", "defense.lam=4,8", settings=(("--set", "recipe.batch_size", "64"),))
    sets = (("--set", "recipe.batch_size", "64"), ("--set", "defense.lam", "8"))
    same = compose(Request(defense="fire", dataset="digits", settings=sets))
    assert fingerprint(found.composed.plan) == fingerprint(same.plan)


def test_a_weight_is_swept_whatever_a_defense_calls_it_and_said() -> None:
    along = axes(["defense.lam=1,2"])
    found = points("fire,trades,uat", "defense.lam=1,2")
    assert [each.values for each in found] == [
        {"defense.lam": 1.0}, {"defense.lam": 2.0}, {"defense.beta": 1.0}, {"defense.beta": 2.0},
        {"defense.lam": 1.0}, {"defense.lam": 2.0},
    ]  # fmt: skip
    (said,) = renamed(found, along)
    assert said == "TRADES has no defense.lam: defense.beta, the one number of its loss, is swept in its place"


def test_the_weight_of_a_loss_is_its_one_number() -> None:
    plans = {name: compose(Request(defense=name, dataset="digits")).plan for name in ("fire", "mart", "madry")}
    assert {name: weight(plan) for name, plan in plans.items()} == {
        "fire": "defense.lam", "mart": "defense.beta", "madry": "",
    }  # fmt: skip


def test_values_without_an_order_of_numbers_are_swept_in_the_order_given() -> None:
    found = points("fire", "defense.distance=half-angle,geodesic", "recipe.ghost_batch=none,64")
    assert [tuple(each.values.values()) for each in found] == [
        ("half-angle", None), ("half-angle", 64), ("geodesic", None), ("geodesic", 64),
    ]  # fmt: skip


def test_radii_keep_their_texts() -> None:
    found = points("fire", "threat.eps=8/255,0.0314")
    assert [str(each.values["threat.eps"]) for each in found] == ["8/255", "0.0314"]


BAD = {  # defenses and options: exit code, what is said
    ("fire,trades", "defense.lamb=1,2"): (2, "unknown setting 'defense.lamb': did you mean defense.lam"),
    ("fire", "lam=1,2"): (2, "unknown setting 'lam': did you mean defense.lam?"),
    ("trades", "defense.lam=1,2"): (2, "unknown setting 'defense.lam': did you mean defense.beta"),
    ("fire", "name=a,b"): (2, "unknown setting 'name'"),
    ("fire", "recipe.schedule.peak=0.1"): (2, "unknown setting 'recipe.schedule.peak'"),
    ("fire,madry", "defense.lam=1,2"): (2, "not every defense has it: madry has no number of its own"),
    ("fire,trades", "defense.distance=geodesic"): (2, "not every defense has it: trades has defense.beta"),
    ("fire", "recipe.schedule.at=0.5,0.75"): (2, "its values are lists, which have no order and cannot be swept"),
    ("fire", "recipe.schedule=cosine,steps"): (2, "cannot be swept; sweep one of its settings: recipe.schedule.at"),
    ("fire", "defense.targets=hardlabels"): (2, "a HardLabels is no single value and cannot be swept"),
    ("fire", "recipe.augment.mix=none,mixup"): (2, "a Mixup is no single value and cannot be swept"),
    ("fire", "claim.eps=0.1,0.2"): (2, "no training depends on it"),
    ("fire", "defense.lam=1,1.0"): (2, "1 and 1.0 are one value"),
    ("fire", "threat.eps=0.2,1/5"): (2, "0.2 and 1/5 are one value"),
    ("fire", "defense.lam=1,2,1"): (2, "1 is there twice"),
    ("fire", "defense.lam=1,,2"): (2, "expected PATH=V1,V2,..."),
    ("fire", "defense.lam="): (2, "expected PATH=V1,V2,..."),
    ("fire", "defense.lam"): (2, "expected PATH=V1,V2,..."),
    ("fire", "=1,2"): (2, "expected PATH=V1,V2,..."),
    ("", "defense.lam=1"): (2, "no defense to sweep"),
    ("fire",): (2, "nothing to sweep: say --over"),
    ("fire,fire", "defense.lam=1,2"): (2, "fire is there twice"),
    ("fire", "defense.lam=1,2", "defense.lam=3"): (2, "two --over are the same setting of fire"),
    ("fire,trades", "defense.lam=1", "defense.beta=2"): (2, "two --over are the same setting of fire"),
    ("fire", "defense.lam=a,2"): (3, "fire lam=a: defense.lam=a: 'a' is not a number"),
    ("fire", "defense.lam=nan"): (3, "'nan' is not a number"),
    ("fire", "defense.lam=-1"): (3, "a coefficient must not be negative"),
    ("fire", "recipe.epochs=1.5"): (3, "expected an integer"),
    ("fire", "threat.eps=0.1,0.9"): (3, "fire eps=0.9: 10 steps of 0.05 cannot reach eps 0.9"),
}


@pytest.mark.parametrize("asked", BAD, ids=" ".join)
def test_a_mistake_is_one_line_that_says_what_to_change(asked: tuple[str, ...]) -> None:
    code, said = BAD[asked]
    with pytest.raises(RobenchError) as caught:
        points(*asked)
    assert said in str(caught.value)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("over", "asked", "said"),
    [
        ("defense.lam=1,2", {"settings": (("--set", "defense.lam", "4"),)}, "--set defense.lam=4"),
        ("recipe.optimiser.lr=1,2", {"settings": (("--lr", "recipe.optimiser.lr", "4"),)}, "--lr"),
        ("recipe.epochs=1,2", {"epochs": 3}, "--epochs 3"),
        ("threat.eps=0.1", {"eps": "0.15"}, "--eps 0.15"),
    ],
)
def test_what_is_swept_is_not_set_as_well(over: str, asked: dict[str, object], said: str) -> None:
    with pytest.raises(RobenchError, match=f"{said}.* contradict each other; leave one out"):
        points("fire", over, **asked)
