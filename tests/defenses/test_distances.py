"""The family of distances, and HAT: each loss restated in probabilities, and how strong each distance is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from bundled_defenses import defense_of, random_views, total
from torch import Tensor

from robench_fire.losses import kl, weighted_mse
from robench_fire.problem import registry
from robench_fire.problem.defense import Views

FAMILY = ["fire", "hellinger", "ikl", "js", "trades", "tv"]


class Example(NamedTuple):
    """One image, in probabilities: clean p, perturbed q, those of its helper, its teacher's class, its class's mean."""

    z: Tensor
    z_adv: Tensor
    z_helper: Tensor
    told: int
    mean: Tensor
    label: int
    weight: Tensor

    def error(self, logits: Tensor, label: int) -> Tensor:
        return -self.weight * (logits.exp() / logits.exp().sum())[label].log()

    @property
    def natural(self) -> Tensor:
        return self.error(self.z, self.label)


def probabilities(x: Example) -> tuple[Tensor, Tensor]:
    return x.z.exp() / x.z.exp().sum(), x.z_adv.exp() / x.z_adv.exp().sum()


def divergence(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


def shannon(x: Example) -> Tensor:
    p, q = probabilities(x)
    m = (p + q) / 2
    return divergence(p, m) / 2 + divergence(q, m) / 2


def variation(x: Example) -> Tensor:
    """The largest difference of probability over all sets of classes, squared."""
    p, q = probabilities(x)
    return (p - q).clamp_min(0).sum().square()


def wmse(x: Example, w: Tensor) -> Tensor:
    """Cui et al.: a quarter of the weighted squares over all pairs of classes."""
    pairs = [
        w[j] * w[k] * ((x.z[j] - x.z[k]) - (x.z_adv[j] - x.z_adv[k])).square()
        for j in range(len(w))
        for k in range(len(w))
    ]
    return torch.stack(pairs).sum() / 4


def soft(x: Example) -> Tensor:
    p, q = probabilities(x)
    return -(p.detach() * q.log()).sum()


def flat(w: Tensor, power: float) -> Tensor:
    return w**power / (w**power).sum()


def helped(x: Example) -> Tensor:
    return x.natural + 2.5 * divergence(*probabilities(x)) + 0.5 * x.error(x.z_helper, x.told)


Equation = Callable[[Example], Tensor]
WRITTEN: dict[tuple[str, tuple[tuple[str, float], ...]], tuple[Equation, Equation]] = {
    ("js", ()): (lambda x: x.natural + 24 * shannon(x), shannon),
    ("tv", ()): (lambda x: x.natural + 12 * variation(x), variation),
    ("ikl", ()): (
        lambda x: x.natural + 3 * wmse(x, x.mean) + 3 * soft(x), lambda x: divergence(*probabilities(x))
    ),
    ("ikl", (("alpha", 20.0), ("beta", 4.0), ("power", 0.2))): (
        lambda x: x.natural + 20 * wmse(x, flat(x.mean, 0.2)) + 4 * soft(x), lambda x: divergence(*probabilities(x))
    ),
    ("hat", ()): (helped, lambda x: divergence(*probabilities(x))),
}  # fmt: skip


def examples(views: Views) -> list[Example]:
    told = views.teacher["adv"].argmax(1).tolist()
    return [
        Example(*row)
        for row in zip(
            views.natural, views.adv, views.more["helper"], told, views.recalled["class_mean"], views.label.tolist(),
            views.target.sum(1), strict=True,
        )
    ]  # fmt: skip


def same(found: Tensor, expected: Tensor, sides: tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    own, told = (
        torch.autograd.grad(each, sides, allow_unused=True, materialize_grads=True) for each in (found, expected)
    )
    torch.testing.assert_close(own, told, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "settings"), WRITTEN)
def test_value_and_gradients_of_an_equation_restated(name: str, settings: tuple[tuple[str, float], ...]) -> None:
    defense, (loss, gain) = defense_of(name, **dict(settings)), WRITTEN[name, settings]
    views = random_views(n=40, spread=3.0)
    views = views._replace(more={each: value.detach().requires_grad_() for each, value in views.more.items()})
    sides = views.natural.requires_grad_(), views.adv.requires_grad_(), views.more["helper"]
    same(total(defense.outer(views)) * 40, torch.stack([loss(each) for each in examples(views)]).sum(), sides)
    same(defense.inner(views).sum(), torch.stack([gain(each) for each in examples(views)]).sum(), sides[1:2])


def test_decoupled_kl_has_the_gradients_of_kl() -> None:
    """Theorem 1 of Cui et al.: with the image's own p as weight, and no gradient of wMSE to the perturbed logits."""
    views = random_views(n=40)
    clean, adv = sides = views.natural.requires_grad_(), views.adv.requires_grad_()
    p = torch.softmax(clean, 1).detach()
    decoupled = weighted_mse(clean, adv.detach(), p) - (p * torch.log_softmax(adv, 1)).sum(1)
    own, told = (torch.autograd.grad(each.sum(), sides) for each in (decoupled, kl(clean, adv)))
    torch.testing.assert_close(own, told, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FAMILY)
def test_every_distance_is_as_strong_near_equality(name: str) -> None:
    """3 of Fisher's quadratic form for each; TV² there where two classes share the probability."""
    z = torch.tensor([[1.0, 1.0, -40.0]] if name == "tv" else [[1.0, 0.3, -0.7]], dtype=torch.float64)
    p, h = torch.softmax(z, 1), 1e-4
    moved = torch.tensor([[0.4, -0.9, 0.2]], dtype=torch.float64)
    fisher = (p * moved.square()).sum(1) - (p * moved).sum(1).square()
    label = torch.tensor([0])
    near, here = (
        Views(z, each, torch.eye(3, dtype=torch.float64)[label], label, recalled={"class_mean": p})
        for each in (z + h * moved, z)
    )
    grown = total(defense_of(name).outer(near)) - total(defense_of(name).outer(here))
    assert grown.item() / h**2 == pytest.approx(3 * fisher.item(), rel=1e-3)


@pytest.mark.parametrize("name", FAMILY)
def test_the_attack_leaves_the_start_that_it_is_given(name: str) -> None:
    """At the image itself no distance has a gradient; a thousandth beside it each has one for every example."""
    views = random_views(n=64)
    beside = views.natural + 1e-3 * torch.randn(64, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for adv, moves in ((views.natural, False), (beside, True)):
        adv = adv.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(defense_of(name).inner(views._replace(adv=adv)).sum(), adv)
        assert ((gradient.abs().amax(1) > 1e-9) == moves).all()


def test_the_family_says_so_in_its_files() -> None:
    assert registry.groups()["distances"] == FAMILY
    assert not registry.groups().keys() & {*registry.names("defenses"), "all"}
