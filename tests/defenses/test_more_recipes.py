"""The methods beyond FIRE's tables: recipes of paper and code, costs, and weights that are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from checkpoint_files import saved, weights
from protocols import FAMILY, SHARED, SHARED_DIGITS, SHARED_MNIST, plan_of, protocol

from robench_fire.costs.work import work
from robench_fire.errors import GivenWeightsError, RecipeError
from robench_fire.models.architectures import last_layer
from robench_fire.problem import registry
from robench_fire.problem.adversarial_weights import AdversarialWeights
from robench_fire.problem.plan import Plan, Profile
from robench_fire.problem.recipe import Augment, Extra, GivenWeights, OneCycle
from robench_fire.runs.compose import Request, compose

Facts = dict[str, Any]

DATASETS = {"cifar10": SHARED, "cifar100": SHARED, "mnist": SHARED_MNIST, "digits": SHARED_DIGITS}
HALF = {"cifar10": "4/255", "cifar100": "4/255", "mnist": "0.15", "digits": "0.1"}  # of the radius
FIRE = {"lam": 12.0, "distance": "half-angle"}
ARR = {"arr_kl": {"lam": 6.0}, "arr_l2": {"lam": 1.0, "outputs": "logits"}}


def twice(shared: Facts) -> Facts:
    """The protocol of pseudo-labelled images."""
    return {"epochs": 2 * shared["epochs"], "drops": "cosine"}


def long(shared: Facts) -> Facts:
    """Twice the epochs, with drops at half and three quarters of them."""
    return {"epochs": 2 * shared["epochs"], "drops": [shared["epochs"], 1.5 * shared["epochs"]]}


MATCHED: dict[str, Callable[[Facts], Facts]] = {
    "hellinger": lambda shared: {"strength": {"lam": 12.0}},
    "js": lambda shared: {"strength": {"lam": 24.0}},
    "tv": lambda shared: {"strength": {"lam": 12.0}},
    "ikl": lambda shared: {"strength": {"alpha": 3.0, "beta": 3.0, "power": 1.0}},
    "overfitting": lambda shared: long(shared) | {"start": "uniform", "select": "validation", "strength": {}},
    "madry_awp": lambda shared: {"start": "uniform", "strength": {}},
    "trades_awp": lambda shared: {"strength": {"beta": 6.0}},
    "mart_awp": lambda shared: {"start": "uniform", "strength": {"beta": 6.0}},
    "rst_awp": lambda shared: twice(shared) | {"strength": {"beta": 6.0}},
    "fire_awp": lambda shared: {"strength": FIRE},
    "mart_rst": lambda shared: twice(shared) | {"start": "uniform", "strength": {"beta": 6.0}},
    "fire_rst": lambda shared: twice(shared) | {"strength": FIRE},
    "uat": lambda shared: twice(shared) | {"start": "uniform", "strength": {"variant": "++", "lam": 5.0}},
    "vat": lambda shared: {"steps": 1, "step": shared["eps"], "strength": {"alpha": 1.0}},
}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", MATCHED)
def test_matched_recipe(name: str, dataset: str) -> None:
    plan, shared = plan_of(name, dataset, "matched"), DATASETS[dataset]
    assert protocol(plan) == shared | MATCHED[name](shared)
    assert plan.threat == plan.claim
    assert plan.recipe.extra == (Extra(hidden=0.5, share=0.5) if "drops" in MATCHED[name](shared)
                                 and name != "overfitting" else None)  # fmt: skip
    assert (plan.recipe.arch, plan.recipe.normalise) == (plan_of("madry", dataset, "matched").recipe.arch, "none")


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", ARR)
def test_matched_arr_takes_three_steps_of_half_the_radius(name: str, dataset: str) -> None:
    light = {"steps": 3, "step": HALF[dataset], "start": "uniform", "strength": ARR[name]}
    assert protocol(plan_of(name, dataset, "matched")) == DATASETS[dataset] | light


@pytest.mark.parametrize("dataset", DATASETS)
def test_matched_standard_is_the_shared_recipe_without_an_attack(dataset: str) -> None:
    plan, adversarial = (plan_of(name, dataset, "matched") for name in ("standard", "trades"))
    assert plan.recipe == replace(adversarial.recipe, attack=None)


def given(name: str, dataset: str, profile: str) -> Plan:
    """What a file that needs weights makes of a plan that has some."""
    module, base = registry.load("defenses", name).module, plan_of("hellinger", dataset, "matched")
    plan = module.matched(replace(base, defense=module.DEFENSE).with_recipe(start=GivenWeights(of="some run")))
    made: Plan = module.official(plan) if profile == "official" else plan
    return made


@pytest.mark.parametrize("dataset", DATASETS)
def test_matched_pretraining_has_a_new_head_and_a_tenth_of_the_rate(dataset: str) -> None:
    plan, shared = given("pretraining", dataset, "matched"), DATASETS[dataset]
    tenth = {"lr": pytest.approx(shared["lr"] / 10), "start": "uniform", "strength": {}}
    assert protocol(plan) == shared | tenth
    assert plan.recipe.start == GivenWeights(of="some run", head="new")
    assert work(plan.defense, plan.recipe).forward_equivalents == 3 + 2 * shared["steps"]


LATE = {"nesterov": False, "batch": 128, "epochs": 200, "drops": [100, 150]}
RICE = SHARED | LATE | {"start": "uniform", "mode": "train", "select": "validation", "strength": {}}
TRADES_AWP = SHARED | LATE | {"passes": "adv clean clean", "select": "validation", "strength": {"beta": 6.0}}
TURNED = {"augment": Augment(rotate=15.0)}
LIGHT = SHARED | LATE | {"steps": 3, "step": "4/255", "start": "uniform"}


@pytest.mark.parametrize(
    ("name", "dataset", "expected", "arch", "normalise"),
    [
        ("overfitting", "cifar10", RICE, "wrn-34-10", "dataset"),
        ("overfitting", "cifar100", RICE | TURNED, "wrn-34-10", "dataset"),
        ("madry_awp", "cifar10", RICE, "wrn-34-10", "dataset"),
        ("madry_awp", "cifar100", RICE | TURNED, "wrn-34-10", "dataset"),
        ("trades_awp", "cifar10", TRADES_AWP, "wrn-34-10", "none"),
        ("trades_awp", "cifar100", TRADES_AWP, "wrn-34-10", "none"),
        ("arr_kl", "cifar10", LIGHT | {"strength": ARR["arr_kl"]}, "resnet-18", "none"),
        ("arr_kl", "cifar100", LIGHT | {"strength": ARR["arr_kl"]}, "resnet-18", "none"),
        ("arr_l2", "cifar10", LIGHT | {"strength": ARR["arr_l2"]}, "resnet-18", "none"),
    ],
)
def test_official_recipe(name: str, dataset: str, expected: Facts, arch: str, normalise: str) -> None:
    plan = plan_of(name, dataset, "official")
    assert protocol(plan) == expected
    assert (plan.recipe.arch, plan.recipe.normalise) == (arch, normalise)
    assert (str(plan.claim.eps), plan.recipe.extra) == ("8/255", None)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_official_pretraining_is_five_epochs_at_a_hundredth_of_the_rate(dataset: str) -> None:
    plan = given("pretraining", dataset, "official")
    short = {"lr": 0.001, "batch": 128, "epochs": 5, "drops": "cosine"}
    assert protocol(plan) == SHARED | short | {"start": "uniform", "mode": "train", "strength": {}}
    assert (plan.recipe.arch, plan.recipe.start) == ("wrn-28-10", GivenWeights(of="some run", head="new"))


def test_official_fire_with_extra_images(tmp_path: Path) -> None:
    (tmp_path / "500k.pickle").write_bytes(b"only its hash is read here")
    plans = [plan_of(name, "cifar10", "official", extra_data=tmp_path / "500k.pickle") for name in ("fire_rst", "fire")]
    assert protocol(plans[0]) == FAMILY | {
        "passes": "adv clean adv", "epochs": 200, "drops": "cosine", "augment": Augment(rotate=15.0, jitter=0.25),
        "strength": {"lam": 20.0, "distance": "half-angle"},
    }  # fmt: skip
    assert plans[0] == replace(plans[1], name="fire_rst")
    assert plans[0].recipe.arch == "wrn-28-10"
    for dataset in ("cifar100", "mnist"):
        with pytest.raises(RecipeError, match=f"fire_rst has no released training code for {dataset} Linf with extra"):
            plan_of("fire_rst", dataset, "official", extra_data=tmp_path / "500k.pickle")


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    "name",
    [
        "standard",
        "hellinger",
        "js",
        "tv",
        "mart_awp",
        "rst_awp",
        "fire_awp",
        "mart_rst",
        "fire_rst",
        "uat",
        "vat",
    ],
)
def test_says_where_no_training_code_was_released(name: str, dataset: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} has no released training code for {dataset} Linf"):
        plan_of(name, dataset, "official")


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
@pytest.mark.parametrize("name", ["overfitting", "madry_awp", "trades_awp", "arr_kl", "arr_l2"])
def test_an_official_recipe_is_for_cifar_alone(name: str, dataset: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} has no released training code for {dataset} Linf"):
        plan_of(name, dataset, "official")


def test_ikls_code_is_for_cifar10_alone() -> None:
    """Its radius grows from nothing and its steps from two to five: the last ones are taken."""
    plan = plan_of("ikl", "cifar10", "official")
    recipe, attack = plan.recipe, plan.recipe.attack
    assert (attack.steps, str(attack.step), attack.start) == (5, "4/255", "gaussian")  # type: ignore[union-attr]
    assert (recipe.epochs, recipe.batch_size, recipe.optimiser.lr, recipe.ema_decay) == (200, 128, 0.2, 0.9996)
    assert plan.defense.weights == AdversarialWeights(gamma=0.005, start=0.05)  # from epoch 10 of 200
    assert (plan.defense.alpha, plan.defense.beta) == (20.0, 4.0)  # type: ignore[attr-defined]
    for dataset in ("cifar100", "mnist", "digits"):
        with pytest.raises(RecipeError, match=f"ikl has no released training code for {dataset} Linf"):
            plan_of("ikl", dataset, "official")


FGSM = (("--set", "recipe.attack.steps", "1"), ("--set", "recipe.attack.step", "10/255"))


@pytest.mark.parametrize(
    ("name", "settings", "forwards"),
    [
        ("standard", (), 3),
        ("overfitting", (), 23),
        ("hellinger", (), 27),
        ("js", (), 27),
        ("tv", (), 27),
        ("ikl", (), 27),
        ("fire_rst", (), 27),
        ("mart_rst", (), 26),
        ("madry_awp", (), 26),
        ("trades_awp", (), 33),
        ("rst_awp", (), 33),
        ("fire_awp", (), 33),
        ("mart_awp", (), 32),
        ("arr_kl", (), 12),
        ("arr_l2", (), 12),
        ("arr_kl", FGSM, 8),
        ("arr_l2", FGSM, 8),
        ("vat", (), 9),
        ("uat", (), 27),
    ],
)
def test_forward_equivalents(name: str, settings: tuple[tuple[str, str, str], ...], forwards: int) -> None:
    plan = compose(Request(defense=name, dataset="cifar10", settings=settings)).plan
    assert work(plan.defense, plan.recipe).forward_equivalents == forwards


def test_a_single_step_must_reach_the_radius() -> None:
    with pytest.raises(RecipeError, match="1 steps of 4/255 cannot reach eps 8/255"):
        compose(Request(defense="arr_kl", dataset="cifar10", settings=FGSM[:1]))


def test_pretraining_asks_for_its_weights() -> None:
    for profile in get_args(Profile):
        with pytest.raises(GivenWeightsError, match=r"^pretraining begins from given weights: say --start FILE\|RUN$"):
            plan_of("pretraining", "cifar10", profile)


def test_hat_asks_for_its_teacher_and_says_which() -> None:
    said = "hat learns from a teacher: say --teacher FILE|RUN, a network trained without attack, as `robench train "
    with pytest.raises(GivenWeightsError) as caught:
        plan_of("hat", "digits", "matched")
    assert str(caught.value) == f"{said}standard DATASET` makes one"


def test_hat_has_the_matched_recipe_the_released_one_and_a_pass_more(tmp_path: Path) -> None:
    """31 forward-equivalents: 3 for the helper images' update and 1 for the teacher, beside TRADES's 27."""
    taught = str(saved(tmp_path / "standard.safetensors", weights(10)))
    plan = compose(Request(defense="hat", dataset="digits", teacher=taught)).plan
    assert protocol(plan) == SHARED_DIGITS | {"strength": {"beta": 2.5, "gamma": 0.5}}
    assert work(plan.defense, plan.recipe).forward_equivalents == 31
    own = registry.load("defenses", "hat").module
    released = own.official(replace(plan_of("trades", "cifar10", "matched"), name="hat", defense=own.DEFENSE))
    cycle = OneCycle(peak=0.25)
    assert (released.recipe.schedule, released.recipe.arch, released.recipe.select) == (
        cycle,
        "resnet-18",
        "validation",
    )
    assert (released.recipe.epochs, released.recipe.batch_size, released.recipe.optimiser.lr) == (50, 128, 0.21)
    with pytest.raises(RecipeError, match="hat has no released training code for digits Linf"):
        own.official(plan)


@pytest.mark.parametrize("classes", [7, 10])
def test_pretraining_keeps_all_but_the_last_layer(classes: int, tmp_path: Path) -> None:
    before = weights(classes)
    path = saved(tmp_path / "before.safetensors", before)
    composed = compose(Request(defense="pretraining", dataset="digits", start=str(path)))
    assert composed.begin is not None
    model = composed.build()
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    composed.begin(model, 0)
    head = last_layer(model)
    assert any(name.startswith(head) for name in fresh)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, fresh[name] if name.startswith(head) else before[name], rtol=0, atol=0)
