"""The contract of every defense, then each bundled one against its equation, its golden value and its recipe."""

from __future__ import annotations

import hashlib
import math
import pickle
import re
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from robench_fire.errors import RecipeError
from robench_fire.problem import registry
from robench_fire.problem.defense import Defense, Paper, Terms, Views
from robench_fire.problem.plan import Plan, Profile
from robench_fire.problem.recipe import Adam, Augment, Cosine, Extra, Sgd, Steps
from robench_fire.problem.targets import HardLabels, SelfAdaptive
from robench_fire.runs.compose import Request, compose

NAMES = sorted(registry.names("defenses"))
KEY = re.compile(r"[A-Z][A-Za-z]+(19|20)\d{2}[A-Z][A-Za-z]*(_[A-Za-z0-9]+)?")  # NameYearWord, optionally _SUFFIX

each_name = pytest.mark.parametrize("name", NAMES)


def defense_of(name: str, **changes: Any) -> Defense:
    found: Defense = registry.load("defenses", name).module.DEFENSE
    return replace(found, **changes)


def paper_of(name: str) -> Paper:
    found: Paper = registry.load("defenses", name).module.PAPER
    return found


def one_hot(label: Tensor, num_classes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.eye(num_classes, dtype=dtype)[label]


def random_views(n: int = 6, num_classes: int = 5, spread: float = 2.0) -> Views:
    generator = torch.Generator().manual_seed(0)
    clean, adv = (spread * torch.randn(n, num_classes, generator=generator, dtype=torch.float64) for _ in range(2))
    label = torch.randint(num_classes, (n,), generator=generator)
    weight = 0.5 + torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return Views(clean, adv, weight * one_hot(label, num_classes), label)


def reordered(views: Views, order: Tensor) -> Views:
    return Views(*(each[order] for each in views if each is not None))


def total(terms: Terms) -> Tensor:
    """How a loss is totalled: the sum over terms of the mean over the batch."""
    return torch.stack([term.mean() for term in terms.values()]).sum()


@each_name
def test_a_defense_is_a_frozen_value(name: str) -> None:
    defense = defense_of(name)
    assert isinstance(defense, Defense)
    assert defense == replace(defense)
    assert hash(defense) == hash(replace(defense))
    with pytest.raises(FrozenInstanceError):
        defense.targets = HardLabels()  # type: ignore[misc]


@each_name
def test_a_defense_survives_a_pickle(name: str) -> None:
    defense, paper = defense_of(name), paper_of(name)
    assert pickle.loads(pickle.dumps(defense)) == defense
    assert pickle.loads(pickle.dumps(paper)) == paper


@each_name
def test_a_coefficient_is_never_negative(name: str) -> None:
    defense = defense_of(name)
    for field in fields(defense):
        if isinstance(getattr(defense, field.name), float):
            assert getattr(replace(defense, **{field.name: 0.0}), field.name) == 0
            for value in (-1.0, -1e-9, -math.inf, math.nan):
                with pytest.raises(ValueError, match=f"{field.name} {value}: a coefficient must not be negative"):
                    replace(defense, **{field.name: value})


@each_name
def test_a_paper_is_complete(name: str) -> None:
    paper = paper_of(name)
    assert KEY.fullmatch(paper.key)
    assert paper.link.startswith("https://")
    assert all(text.strip() for text in (paper.method, paper.title, paper.authors, paper.venue))
    for reported in paper.reported:
        assert 0 < reported.robust <= reported.clean <= 100
        assert reported.dataset in registry.names("datasets")
        assert reported.norm in ("Linf", "L2")
        assert reported.source


def test_no_two_defenses_share_a_row_name() -> None:
    for texts in ([paper_of(name).key for name in NAMES], [paper_of(name).method for name in NAMES]):
        assert len(set(texts)) == len(texts)


@each_name
def test_a_module_says_in_one_line_what_it_is(name: str) -> None:
    summary = registry.summary("defenses", name)
    assert summary
    assert summary == (registry.load("defenses", name).module.__doc__ or "").splitlines()[0]


@each_name
@pytest.mark.parametrize("n", [1, 6])
def test_losses_are_finite_and_per_example(name: str, n: int) -> None:
    defense, views = defense_of(name), random_views(n)
    terms = defense.outer(views)
    assert terms
    for values in (defense.inner(views), *terms.values()):
        assert values.shape == (n,)
        assert values.isfinite().all()


@each_name
def test_permuting_the_batch_permutes_the_losses(name: str) -> None:
    defense, views = defense_of(name), random_views()
    order = torch.randperm(len(views.label), generator=torch.Generator().manual_seed(1))
    mixed = reordered(views, order)
    torch.testing.assert_close(defense.inner(mixed), defense.inner(views)[order])
    terms = defense.outer(views)
    assert defense.outer(mixed).keys() == terms.keys()
    for term, values in defense.outer(mixed).items():
        torch.testing.assert_close(values, terms[term][order])


@each_name
@pytest.mark.parametrize("problem", ["inner", "outer"])
def test_declares_whether_it_reads_clean_logits(name: str, problem: str) -> None:
    defense, views = defense_of(name), random_views()
    blind = views._replace(clean=None)
    if getattr(defense, f"clean_in_{problem}"):
        with pytest.raises(ValueError, match="clean_in_inner or clean_in_outer"):
            getattr(defense, problem)(blind)
    else:
        torch.testing.assert_close(getattr(defense, problem)(blind), getattr(defense, problem)(views))


@each_name
def test_gradients_reach_the_adversarial_logits(name: str) -> None:
    defense, views = defense_of(name), random_views()
    adv = views.adv.requires_grad_()
    for value in (defense.inner(views).sum(), total(defense.outer(views))):
        (gradient,) = torch.autograd.grad(value, adv)
        assert gradient.isfinite().all()
        assert gradient.any()


def extreme_views(dtype: torch.dtype) -> dict[str, Views]:
    """Equal, nearly equal, saturated and opposite predictions, right and wrong."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 10, generator=generator)
    label = torch.randint(10, (64,), generator=generator)
    gap = torch.linspace(20, 300, 64)[:, None]
    sure, wrong = gap * torch.eye(10)[label], gap * torch.eye(10)[(label + 1) % 10]
    made = {
        "equal": (logits, logits),
        "nearly equal": (logits, logits + 1e-3 * torch.randn(64, 10, generator=generator)),
        "blank": (torch.zeros(64, 10), torch.zeros(64, 10)),
        "saturated and right": (sure, sure),
        "saturated and wrong": (wrong, wrong),
        "turned": (sure, wrong),
        "turned back": (wrong, sure),
    }
    target = one_hot(label, 10, torch.float32)
    return {scene: Views(clean.to(dtype), adv.to(dtype), target, label) for scene, (clean, adv) in made.items()}


@each_name
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scene", sorted(extreme_views(torch.float32)))
def test_values_and_gradients_are_finite_at_extremes(name: str, dtype: torch.dtype, scene: str) -> None:
    defense, views = defense_of(name), extreme_views(dtype)[scene]
    adv, clean = views.adv.clone().requires_grad_(), views.natural.clone().requires_grad_()
    seen = views._replace(clean=clean, adv=adv)
    for value in (defense.inner(seen).sum(), total(defense.outer(seen))):
        assert value.isfinite()
        assert value.dtype == torch.float32
        for gradient in torch.autograd.grad(value, (adv, clean), allow_unused=True):
            assert gradient is None or gradient.isfinite().all()


# Bundled defenses by name: equations and golden values.

CLEAN = torch.tensor([[2, 0, -1], [0, 1, 1.5]], dtype=torch.float64)
ADV = torch.tensor([[0.5, 1, -0.5], [-1, 2, 2.5]], dtype=torch.float64)
LABEL = torch.tensor([0, 2])
GOLDEN = Views(CLEAN, ADV, one_hot(LABEL, 3), LABEL)


@pytest.mark.parametrize(
    ("name", "changes", "value"),
    [
        ("trades", {"beta": 6.0}, 2.478733235444),
        ("rst_adv", {"beta": 6.0}, 2.478733235444),
        ("fire", {"lam": 12.0}, 2.521941924150),
        ("fire", {"lam": 20.0}, 3.945244331951),
        ("fire", {"lam": 12.0, "distance": "geodesic"}, 8.926802759257),
        ("fire", {"lam": 48.0}, 8.926802759257),
        ("mart", {"beta": 6.0}, 1.870005726788),
        ("mart", {"beta": 5.0}, 1.795860442499),
        ("madry", {}, 0.798414879335),
    ],
)
def test_golden_loss(name: str, changes: dict[str, Any], value: float) -> None:
    assert total(defense_of(name, **changes).outer(GOLDEN)).item() == pytest.approx(value, abs=1e-9)


def drifted() -> Tensor:
    """Self-adaptive targets after one update, in float64: T = 0.9 one-hot + 0.1 softmax(z), times its weight."""
    soft = 0.9 * one_hot(LABEL, 3) + 0.1 * torch.softmax(CLEAN, 1)
    weight = soft.amax(1, keepdim=True)
    return soft * weight / weight.mean()


@pytest.mark.parametrize(("name", "value"), [("self_adaptive", 2.510563820880), ("fire_sa", 2.553772509585)])
def test_golden_self_adaptive_loss(name: str, value: float) -> None:
    terms = defense_of(name).outer(GOLDEN._replace(target=drifted()))
    assert terms["natural"].mean().item() == pytest.approx(0.418818897882, abs=1e-9)
    assert total(terms).item() == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("name", ["self_adaptive", "fire_sa"])
def test_golden_self_adaptive_memory(name: str) -> None:
    targets, index = defense_of(name).targets, torch.tensor([0, 1])
    assert targets == SelfAdaptive(momentum=0.9, start=0.7)
    memory = targets.update(targets.init(LABEL, 3), index, CLEAN, 0.7)
    expected = [[0.98437947, 0.01141952, 0.00420101], [0.01219517, 0.03314990, 0.95465494]]
    np.testing.assert_allclose(memory["soft"], expected, rtol=0, atol=1e-7)
    read = targets.read(memory, index)
    np.testing.assert_allclose(read.sum(1), [1.01532956, 0.98467044], rtol=0, atol=1e-7)
    np.testing.assert_allclose(read, drifted(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["trades", "rst_adv", "fire", "madry", "mart"])
def test_other_defenses_train_on_hard_labels(name: str) -> None:
    assert defense_of(name).targets == HardLabels()


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("trades", [0.56477646, 0.13247185]),
        ("rst_adv", [0.56477646, 0.13247185]),
        ("self_adaptive", [0.56477646, 0.13247185]),
        ("fire", [0.30721300, 0.04861260]),
        ("fire_sa", [0.30721300, 0.04861260]),
    ],
)
def test_golden_gain_of_a_divergence(name: str, rows: list[float]) -> None:
    assert defense_of(name).inner(GOLDEN).tolist() == pytest.approx(rows, abs=5.1e-9)


@pytest.mark.parametrize("name", ["madry", "mart"])
def test_golden_gain_of_a_cross_entropy(name: str) -> None:
    assert defense_of(name).inner(GOLDEN).mean().item() == pytest.approx(0.798414879335, abs=1e-9)


def probabilities(logits: Tensor) -> NDArray[np.float64]:
    exponentials: NDArray[np.float64] = np.exp(logits.numpy())
    return exponentials / exponentials.sum(1, keepdims=True)


def restated(name: str, views: Views) -> float:
    """The mean loss, one example at a time, from the papers' equations."""
    losses = []
    rows = zip(probabilities(views.natural), probabilities(views.adv), views.target.numpy(), views.label, strict=True)
    for p, q, target, label in rows:
        own, kl = int(label), float(np.sum(p * np.log(p / q)))
        natural, adversarial = -float(target @ np.log(p)), -float(target @ np.log(q))
        theta = math.acos(float(np.sum(np.sqrt(p * q))))
        runner_up = max(q[k] for k in range(len(q)) if k != own)
        boosted = adversarial - target.sum() * math.log(1.0001 - runner_up)
        losses.append(
            {
                "madry": adversarial,
                "trades": natural + 6 * kl,
                "fire": natural + 12 * theta**2,
                "mart": boosted + 6 * (1.0000001 - p[own]) * kl,
            }[name]
        )
    return float(np.mean(losses))


@pytest.mark.parametrize("name", ["madry", "trades", "fire", "mart"])
def test_equation_restated_on_weighted_examples(name: str) -> None:
    views = random_views(n=200, spread=3.0)
    assert total(defense_of(name).outer(views)).item() == pytest.approx(restated(name, views), rel=1e-9)


@pytest.mark.parametrize("name", ["trades", "fire", "mart"])
def test_gradient_flows_through_both_sides_of_the_divergence(name: str) -> None:
    defense, views = defense_of(name), random_views()
    clean = views.natural.requires_grad_()
    (gradient,) = torch.autograd.grad(defense.outer(views)["robust"].sum(), clean)
    assert (gradient.abs().sum(1) > 0).all()


# Bundled defenses by name: recipes.


def plan_of(name: str, dataset: str, profile: Profile, arch: str = "", extra_data: Path | None = None) -> Plan:
    asked = Request(defense=name, dataset=dataset, profile=profile, arch=arch, extra_data=extra_data)
    return compose(asked).plan


def drops_of(plan: Plan) -> list[float] | str:
    """The epochs, counted from 1, at which the rate drops."""
    if isinstance(plan.recipe.schedule, Cosine):
        return "cosine"
    assert plan.recipe.schedule.factor == 0.1
    return [round(share * plan.recipe.epochs, 6) for share in plan.recipe.schedule.at]


def protocol(plan: Plan) -> dict[str, Any]:
    """The facts of a plan that the published tables give."""
    recipe, optimiser = plan.recipe, plan.recipe.optimiser
    assert recipe.attack is not None
    facts = {
        "eps": str(plan.threat.eps),
        "step": str(recipe.attack.step),
        "steps": recipe.attack.steps,
        "start": recipe.attack.start,
        "mode": recipe.attack_mode,
        "passes": " ".join(recipe.passes),
        "lr": optimiser.lr,
        "batch": recipe.batch_size,
        "epochs": recipe.epochs,
        "drops": drops_of(plan),
        "augment": recipe.augment,
        "select": recipe.select,
        "strength": {name: value for name, value in vars(plan.defense).items() if name != "targets"},
    }
    if isinstance(optimiser, Sgd):
        assert optimiser.momentum == 0.9
        facts |= {"nesterov": optimiser.nesterov, "decay": optimiser.weight_decay}
    return facts


def beta(value: float) -> dict[str, Any]:
    return {"beta": value}


def lam(value: float) -> dict[str, Any]:
    return {"lam": value, "distance": "half-angle"}


SHARED = {
    "eps": "8/255", "step": "2/255", "steps": 10, "start": "gaussian", "mode": "eval", "passes": "clean adv",
    "lr": 0.1, "nesterov": True, "decay": 5e-4, "batch": 256, "epochs": 100, "drops": [75, 90],
    "augment": Augment(pad=4, flip=True), "select": "last",
}  # fmt: skip
FAMILY = SHARED | {"eps": "0.031", "step": "0.007"}  # of TRADES
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


SHARED_MNIST = SHARED | {"eps": "0.3", "step": "0.01", "steps": 40, "lr": 0.01, "augment": Augment(pad=0, flip=False)}
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


@each_name
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
