"""Each bundled defense has the recipe of its paper and of its released code."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
from bundled_defenses import NAMES
from protocols import FAMILY, SHARED, SHARED_MNIST, plan_of, protocol
from repository import BOARDS

from robench_fire.boards.model_info import from_model_info
from robench_fire.errors import RecipeError
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.recipe import Adam, Augment, Extra, Steps
from robench_fire.runs.compose import Request, compose

# Bundled defenses by name: recipes.


def beta(value: float) -> dict[str, Any]:
    return {"beta": value}


def lam(value: float) -> dict[str, Any]:
    return {"lam": value, "distance": "half-angle"}


SELF_ADAPTIVE = FAMILY | {
    "nesterov": False, "decay": 2e-4, "batch": 128, "drops": [75, 90, 100], "select": "validation",
}  # fmt: skip


OFFICIAL_CIFAR10 = {
    "madry": SHARED | {
        "start": "uniform", "mode": "train", "nesterov": False, "decay": 2e-4, "batch": 128, "epochs": 205,
        "drops": [102.5, 153.75], "augment": Augment(pad=2), "strength": {},
    },
    "trades": FAMILY | {
        "passes": "clean adv clean", "nesterov": False, "decay": 2e-4, "batch": 128, "epochs": 76, "drops": [75],
        "strength": beta(6),
    },
    "mart": FAMILY | {
        "nesterov": False, "decay": 7e-4, "batch": 128, "epochs": 90, "drops": [75, 90], "select": "validation",
        "strength": beta(6),
    },
    "self_adaptive": SELF_ADAPTIVE | {"strength": beta(6)},
    "fire_sa": SELF_ADAPTIVE | {"strength": lam(12)},
    "rst_adv": FAMILY | {"passes": "adv clean", "epochs": 200, "drops": "cosine", "strength": beta(6)},
    "fire": FAMILY | {
        "passes": "adv clean adv", "drops": [75, 90, 100], "augment": Augment(rotate=15.0, jitter=0.25),
        "strength": lam(20),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OFFICIAL_CIFAR10)
def test_official_recipe_on_cifar10(name: str, tmp_path: Path) -> None:
    content = b"self-training was released with a file of images"
    (tmp_path / "500k.pickle").write_bytes(content)
    plan = plan_of(name, "cifar10", "official", extra_data=tmp_path / "500k.pickle" if name == "rst_adv" else None)
    assert protocol(plan) == OFFICIAL_CIFAR10[name]
    assert str(plan.claim.eps) == "8/255"
    assert plan.recipe.arch == ("wrn-28-10" if name == "rst_adv" else "wrn-34-10")
    with_file = Extra(source="file", sha256=hashlib.sha256(content).hexdigest(), share=0.5)
    assert plan.recipe.extra == (with_file if name == "rst_adv" else None)
    assert plan.recipe.normalise == ("image" if name == "madry" else "none")
    assert plan.recipe.optimiser.decay_only_weights is (name == "madry")
    assert plan.recipe.ema_decay is None


def test_official_mart_on_resnet_18() -> None:
    expected = OFFICIAL_CIFAR10["mart"] | {
        "lr": 0.01, "decay": 3.5e-3, "epochs": 120, "drops": [75, 90, 100], "strength": beta(5),
    }  # fmt: skip
    assert protocol(plan_of("mart", "cifar10", "official", arch="resnet-18")) == expected


PLAIN_MNIST = SHARED_MNIST | {"nesterov": False, "decay": 0, "batch": 128}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trades", PLAIN_MNIST | {"passes": "clean adv clean", "drops": [55, 75, 90], "strength": beta(1)}),
        ("fire", PLAIN_MNIST | {"passes": "adv clean adv", "drops": [75, 90, 100], "strength": lam(20)}),
    ],
)
def test_official_recipe_on_mnist(name: str, expected: dict[str, Any]) -> None:
    assert protocol(plan_of(name, "mnist", "official")) == expected


def test_official_madry_on_mnist() -> None:
    plan = plan_of("madry", "mnist", "official")
    assert plan.recipe.optimiser == Adam(lr=1e-4)
    assert plan.recipe.schedule == Steps(at=())
    assert plan.recipe.batch_size == 50
    assert plan.recipe.epochs == math.ceil(100_000 * 50 / 60_000)
    assert protocol(plan)["start"] == "uniform"


def test_official_fire_on_cifar100_uses_a_cosine() -> None:
    expected = OFFICIAL_CIFAR10["fire"] | {"drops": "cosine"}
    assert protocol(plan_of("fire", "cifar100", "official")) == expected


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("mart", "mnist"),
        ("mart", "cifar100"),
        ("self_adaptive", "cifar100"),
        ("fire_sa", "mnist"),
        ("rst_adv", "mnist"),
        ("trades", "cifar100"),
        ("madry", "cifar100"),
        ("fire", "digits"),
    ],
)
def test_says_where_no_training_code_was_released(name: str, dataset: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} has no released training code for {dataset} Linf"):
        plan_of(name, dataset, "official")


def test_no_training_code_was_released_for_hidden_labels() -> None:
    said = "^rst_adv has no released training code for cifar10 Linf with hidden labels; use --profile matched$"
    with pytest.raises(RecipeError, match=said):
        plan_of("rst_adv", "cifar10", "official")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pretraining"])
def test_no_training_code_was_released_for_l2(name: str) -> None:
    with pytest.raises(RecipeError, match="no released training code for cifar10 L2"):
        compose(Request(defense=name, dataset="cifar10", norm="L2", profile="official"))


MATCHED: dict[str, dict[str, Any]] = {
    "madry": {"start": "uniform", "strength": {}},
    "trades": {"strength": beta(6)},
    "mart": {"start": "uniform", "strength": beta(6)},
    "self_adaptive": {"strength": beta(6)},
    "fire_sa": {"strength": lam(12)},
    "rst_adv": {"epochs": 200, "drops": "cosine", "strength": beta(6)},
    "fire": {"strength": lam(12)},
}


@pytest.mark.parametrize(
    ("dataset", "shared", "arch"), [("cifar10", SHARED, "wrn-34-10"), ("mnist", SHARED_MNIST, "small-cnn")]
)
@pytest.mark.parametrize("name", MATCHED)
def test_matched_recipe(name: str, dataset: str, shared: dict[str, Any], arch: str) -> None:
    plan = plan_of(name, dataset, "matched")
    assert protocol(plan) == shared | MATCHED[name]
    assert plan.threat == plan.claim
    assert plan.recipe.arch == arch
    assert plan.recipe.extra == (Extra(hidden=0.5, share=0.5) if name == "rst_adv" else None)
    assert plan.recipe.normalise == "none"


def test_matched_mart_is_gentler_on_resnet_18() -> None:
    assert protocol(plan_of("mart", "cifar10", "matched", arch="resnet-18"))["strength"] == beta(5)


# not those of given weights or teachers, which are no part of the repository
COMMITTED = sorted(
    path for path in BOARDS.rglob("Linf/*.json") if not {*from_model_info(path).plan["recipe"]} & {"start", "teacher"}
)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_committed_row_is_of_the_plan_that_its_file_makes(path: Path) -> None:
    """So that no run of the board's methods is lost when files are rewritten, or the contract gets new words."""
    row = from_model_info(path)
    settings = tuple(("--set", name, str(value)) for name, value in row.facts["by_hand"].items())
    arch = row.plan["recipe"]["arch"]
    asked = Request(defense=row.plan["name"], dataset=row.dataset, profile=row.profile, arch=arch, settings=settings)
    assert fingerprint(compose(asked).plan) == row.fingerprint
