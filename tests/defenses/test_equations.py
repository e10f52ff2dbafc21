"""Each bundled defense against its equation and its golden value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from bundled_defenses import NAMES, complete, defense_of, one_hot, random_views, total
from numpy.typing import NDArray
from torch import Tensor

from robench_fire.problem.defense import Views
from robench_fire.problem.targets import HardLabels, SelfAdaptive

# Bundled defenses by name: equations and golden values.

CLEAN = torch.tensor([[2, 0, -1], [0, 1, 1.5]], dtype=torch.float64)


ADV = torch.tensor([[0.5, 1, -0.5], [-1, 2, 2.5]], dtype=torch.float64)


LABEL = torch.tensor([0, 2])


GOLDEN = complete(Views(CLEAN, ADV, one_hot(LABEL, 3), LABEL))


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
        ("standard", {}, 0.386988312447),
        ("hellinger", {"lam": 12.0}, 2.474052933537),
        ("js", {"lam": 24.0}, 2.398388717321),
        ("tv", {"lam": 12.0}, 2.025945814266),
        ("arr_kl", {"lam": 6.0}, 2.478733235444),
        ("arr_l2", {"lam": 1.0}, 0.386988312447 + (math.sqrt(3.5) + math.sqrt(3)) / 2),
        ("uat", {"variant": "FT"}, 0.798414879335),
        ("uat", {"variant": "OT", "lam": 6.0}, 2.478733235444),
        ("uat", {"variant": "++", "lam": 6.0}, 2.478733235444 - 0.386988312447 + 0.798414879335),
        ("vat", {"alpha": 6.0}, 2.478733235444),
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


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("self_adaptive", "fire_sa", "ikl")])
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
        ("hellinger", [0.29942812, 0.04841599]),
        ("js", [0.14482821, 0.02278849]),
        ("ikl", [0.56477646, 0.13247185]),
        ("hat", [0.56477646, 0.13247185]),
        ("vat", [0.56477646, 0.13247185]),
    ],
)
def test_golden_gain_of_a_divergence(name: str, rows: list[float]) -> None:
    assert defense_of(name).inner(GOLDEN).tolist() == pytest.approx(rows, abs=5.1e-9)


@pytest.mark.parametrize("name", ["madry", "mart", "arr_kl", "arr_l2"])
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


@pytest.mark.parametrize("name", ["trades", "fire", "mart", "hellinger", "js", "tv", "hat", "arr_kl", "arr_l2"])
def test_gradient_flows_through_both_sides_of_the_divergence(name: str) -> None:
    defense, views = defense_of(name), random_views()
    clean = views.natural.requires_grad_()
    (gradient,) = torch.autograd.grad(defense.outer(views)["robust"].sum(), clean)
    assert (gradient.abs().sum(1) > 0).all()
