"""The fast end: recipes of paper and code, what an update costs, and what cannot work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from protocols import SHARED, SHARED_DIGITS, SHARED_MNIST, plan_of, protocol
from small_defenses import TwoAttacks

from robench_fire.costs.work import Work, per_update, work
from robench_fire.errors import RecipeError
from robench_fire.problem.defense import Ramp
from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.plan import Plan
from robench_fire.problem.recipe import Adam, Augment, Cyclic, Sgd, Steps
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request, compose

ONE = {"steps": 1, "strength": {}}
NUCLEAR = {"lam": Ramp(last=4.5, begin=0.01, end=0.91), "alternate": False}
GUIDED = {"lam": Ramp(first=10.0, last=10.0), "alternate": False}
ATTACKS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {  # its facts, and its step by data set
    "fast": (ONE | {"start": "uniform"}, {"cifar10": "10/255", "mnist": "0.375", "digits": "0.25"}),
    "n_fgsm": (ONE | {"start": "uniform"}, {"cifar10": "8/255", "mnist": "0.3", "digits": "0.2"}),
    "grad_align": (ONE | {"start": "zero", "strength": {"lam": 0.2}}, {"cifar10": "8/255", "digits": "0.2"}),
    "gat": (ONE | {"start": "bernoulli", "strength": GUIDED}, {"cifar10": "8/255", "digits": "0.2"}),
    "nu_at": (ONE | {"start": "bernoulli", "strength": NUCLEAR}, {"cifar10": "8/255", "digits": "0.2"}),
}
SHARES = {"cifar10": SHARED, "mnist": SHARED_MNIST, "digits": SHARED_DIGITS}
WIDER = {"n_fgsm": (2.0, "pixels"), "gat": (0.5, None), "nu_at": (0.5, None)}


@pytest.mark.parametrize("name", ATTACKS)
def test_matched_is_the_shared_recipe_with_one_step(name: str) -> None:
    facts, steps = ATTACKS[name]
    for dataset, step in steps.items():
        plan = plan_of(name, dataset, "matched")
        assert protocol(plan) == SHARES[dataset] | facts | {"step": step}
        assert isinstance(plan.recipe.attack, Pgd)
        assert (plan.recipe.attack.spread, plan.recipe.attack.within) == WIDER.get(name, (None, None))


@pytest.mark.parametrize(("dataset", "epochs"), [("cifar10", 13), ("mnist", 13), ("digits", 3)])
def test_matched_free_replays_eight_times_in_an_eighth_of_the_epochs(dataset: str, epochs: int) -> None:
    plan, shared = plan_of("free", dataset, "matched"), plan_of("madry", dataset, "matched")
    attack = Replay(step=plan.threat.eps, times=8)
    assert plan.recipe == replace(shared.recipe, attack=attack, epochs=epochs)


def rate(plan: Plan) -> tuple[Any, ...]:
    return plan.recipe.schedule, plan.recipe.optimiser, plan.recipe.epochs, plan.recipe.batch_size


QUICK, PLAIN = Sgd(lr=0.2, nesterov=False), Sgd(nesterov=False)
OFFICIAL: dict[tuple[str, str], tuple[tuple[Any, ...], tuple[str, str, str]]] = {
    ("fast", "cifar10"): ((Cyclic(), QUICK, 15, 128), ("preact-resnet-18", "train", "dataset")),
    ("fast", "mnist"): ((Cyclic(peak=0.4), Adam(lr=5e-3), 10, 100), ("small-cnn", "eval", "none")),
    ("n_fgsm", "cifar10"): ((Cyclic(), QUICK, 30, 128), ("preact-resnet-18", "train", "dataset")),
    ("n_fgsm", "cifar100"): ((Cyclic(), QUICK, 30, 128), ("preact-resnet-18", "train", "dataset")),
    ("grad_align", "cifar10"): (
        (Cyclic(peak=0.4), Sgd(lr=0.3, nesterov=False), 30, 128), ("preact-resnet-18", "train", "none")
    ),
    ("gat", "cifar10"): ((Steps(at=(0.72, 0.87)), PLAIN, 100, 64), ("resnet-18", "eval", "none")),
    ("nu_at", "cifar10"): ((Cyclic(peak=0.4), PLAIN, 100, 64), ("resnet-18", "eval", "none")),
    ("free", "cifar10"): (
        (Steps(at=(0.5, 0.75)), Sgd(nesterov=False, weight_decay=2e-4, decay_only_weights=True), 26, 128),
        ("wrn-34-10", "eval", "image"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "dataset"), OFFICIAL)
def test_official_recipe(name: str, dataset: str) -> None:
    plan, (expected, how) = plan_of(name, dataset, "official"), OFFICIAL[name, dataset]
    assert rate(plan) == expected
    assert (plan.recipe.arch, plan.recipe.attack_mode, plan.recipe.normalise) == how
    assert plan.recipe.attack == plan_of(name, dataset, "matched").recipe.attack
    repeated = name in ("gat", "nu_at")
    assert plan.recipe.passes == (("clean", "adv", "clean") if repeated else ("clean", "adv"))
    assert plan.recipe.select == ("validation" if repeated else "last")
    judge = plan.recipe.validation_attack
    assert (judge and (judge.steps, judge.start, f"{float(judge.step) * 7:.5f}")) == (
        (7, "zero", f"{8 / 255:.5f}") if repeated else None)  # fmt: skip
    assert plan.recipe.augment == Augment(pad=2 if name == "free" else 0 if dataset == "mnist" else 4,
                                          flip=dataset != "mnist")  # fmt: skip


def test_official_coefficients() -> None:
    gat, nu_at = (plan_of(name, "cifar10", "official").defense for name in ("gat", "nu_at"))
    assert gat.alternate and nu_at.alternate  # type: ignore[attr-defined]  # noqa: PT018
    at = [torch.tensor(epoch / 100) for epoch in (1, 46, 86, 87, 91, 100)]
    assert [round(gat.lam.at(each).item(), 3) for each in at] == [10, 10, 10, 40, 40, 40]  # type: ignore[attr-defined]
    expected = [0, 2.25, 4.25, 4.3, 4.5, 4.5]  # 4.5 (epoch - 1) / 90, up to epoch 91
    assert [round(nu_at.lam.at(each).item(), 3) for each in at] == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [*ATTACKS, "free"])
def test_says_where_no_training_code_was_released(name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} has no released training code for digits Linf"):
        plan_of(name, "digits", "official")


COSTS = {  # of an update: forwards, gradients to images, full ones, those through a gradient
    "fast": (Work(2, 1, 1), 5),
    "n_fgsm": (Work(2, 1, 1), 5),
    "gat": (Work(4, 1, 2), 9),
    "nu_at": (Work(4, 1, 2), 9),
    "grad_align": (Work(4, 3, 3, 2), 17),
    "free": (Work(8, 0, 0, both=8), 3),
}


@pytest.mark.parametrize("name", COSTS)
def test_what_an_update_costs(name: str) -> None:
    plan, (expected, equivalents) = compose(Request(defense=name, dataset="cifar10")).plan, COSTS[name]
    assert work(plan.defense, plan.recipe) == expected
    assert per_update(plan.defense, plan.recipe) == equivalents


def forward_backwards(name: str) -> float:
    """Of a training of 100 epochs: full gradients and gradients to images, each with its forward, for each image."""
    plan = plan_of(name, "cifar10", "matched")
    done = work(plan.defense, plan.recipe)
    return plan.recipe.epochs / 100 * (done.to_image + done.to_weights + done.both + done.through)


def test_one_step_costs_at_most_a_quarter_of_trades_with_ten() -> None:
    """Of forwards and backwards through the network; GradAlign goes through gradients, and pays for it."""
    trades = forward_backwards("trades")
    assert trades == 12
    for name in ("free", "fast", "n_fgsm", "gat", "nu_at"):
        assert 4 * forward_backwards(name) <= trades, name
    assert forward_backwards("grad_align") == 8


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("fast", {"recipe.attack.step": "0.1"}, "1 steps of 0.1 cannot reach eps 0.2: raise"),
        ("grad_align", {"recipe.attack.step": "0.1"}, "1 steps of 0.1 cannot reach eps 0.2: raise"),
        ("gat", {"recipe.attack.step": "0.1999"}, "1 steps of 0.1999 cannot reach eps 0.2: raise"),
        ("free", {"recipe.attack.step": "0.01"}, "8 steps of 0.01 cannot reach eps 0.2: raise"),
        ("free", {"recipe.attack.times": "0"}, "times 0: a batch is trained on at least once"),
        ("free", {"recipe.attack.times": "-1"}, "times -1: a batch is trained on at least once"),
        ("free", {"recipe.attack.step": "0"}, "step 0: a step must be positive"),
        ("n_fgsm", {"recipe.attack.spread": "0"}, "spread 0.0: so many radii, must be positive"),
        ("n_fgsm", {"recipe.attack.start": "zero"}, "spread 2.0: a start of zero has none; set start=uniform first"),
        ("n_fgsm", {"recipe.attack.spread": "6"}, "a start of 6 radii: eps 1.2.* is outside"),
        ("n_fgsm", {"recipe.attack.within": "ball"}, "unknown value 'ball'"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(name: str, settings: dict[str, str], said: str) -> None:
    given = tuple(("--set", path, text) for path, text in settings.items())
    with pytest.raises(RecipeError, match=said) as caught:
        compose(Request(defense=name, dataset="digits", settings=given))
    assert "\n" not in str(caught.value)


def test_replays_find_one_image_only() -> None:
    plan = plan_of("free", "digits", "matched")
    with pytest.raises(RecipeError, match="the loss of free reads wrong images, which an attack of their own finds"):
        replace(plan, defense=TwoAttacks()).check()


def test_a_radius_of_ones_own_moves_the_step() -> None:
    for name, step in {"fast": "0.125", "n_fgsm": "0.1", "free": "0.1"}.items():
        plan = compose(Request(defense=name, dataset="digits", eps="0.1")).plan
        assert plan.recipe.attack is not None
        assert plan.recipe.attack.step == Quantity(step)
