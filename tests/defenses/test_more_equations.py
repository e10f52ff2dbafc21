"""The methods beyond FIRE's tables: each loss and gain against its equation, with gradients and what is detached."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from bundled_defenses import defense_of, gains, random_views, total
from torch import Tensor

from robench_fire.problem.adversarial_weights import AdversarialWeights
from robench_fire.problem.defense import Defense, Views


class Written(NamedTuple):
    """An equation in probabilities, for one example: what is minimised, and what the attack maximises."""

    loss: Callable[[Example], Tensor]
    gain: Callable[[Example], Tensor] | None


class Example(NamedTuple):
    """Logits and probabilities of an image and its perturbed version, label, and weight."""

    z: Tensor
    z_adv: Tensor
    label: int
    weight: Tensor

    @property
    def p(self) -> Tensor:
        return self.z.exp() / self.z.exp().sum()

    @property
    def q(self) -> Tensor:
        return self.z_adv.exp() / self.z_adv.exp().sum()

    @property
    def natural(self) -> Tensor:
        return -self.weight * self.p[self.label].log()

    @property
    def adversarial(self) -> Tensor:
        return -self.weight * self.q[self.label].log()

    def smooth(self) -> Tensor:
        """KL of a p that is a constant."""
        fixed = self.p.detach()
        return (fixed * (fixed / self.q).log()).sum()


WRITTEN: dict[tuple[str, str], Written] = {
    ("standard", ""): Written(lambda x: x.natural, None),
    ("hellinger", ""): Written(
        lambda x: x.natural + 12 * (x.p.sqrt() - x.q.sqrt()).square().sum(),
        lambda x: 2 * (1 - (x.p * x.q).sqrt().sum()),
    ),
    ("arr_kl", ""): Written(lambda x: x.natural + 6 * (x.p * (x.p / x.q).log()).sum(), lambda x: x.adversarial),
    ("arr_l2", "logits"): Written(lambda x: x.natural + (x.z - x.z_adv).square().sum().sqrt(), lambda x: x.adversarial),
    ("arr_l2", "softmax"): Written(lambda x: x.natural + (x.p - x.q).square().sum().sqrt(), lambda x: x.adversarial),
    ("uat", "OT"): Written(lambda x: x.natural + 5 * x.smooth(), lambda x: 5 * x.smooth()),
    ("uat", "FT"): Written(lambda x: x.adversarial, lambda x: x.adversarial),
    ("uat", "++"): Written(lambda x: x.adversarial + 5 * x.smooth(), lambda x: x.adversarial + 5 * x.smooth()),
    ("vat", ""): Written(lambda x: x.natural + x.smooth(), lambda x: x.smooth()),
}
CHOICE = {"arr_l2": "outputs", "uat": "variant"}
"""Which field of a defense chooses among its forms."""


def chosen(name: str, form: str) -> Defense:
    return defense_of(name, **({CHOICE[name]: form} if form else {}))


@pytest.mark.parametrize(("name", "form"), WRITTEN)
def test_value_and_gradients_of_an_equation_restated(name: str, form: str) -> None:
    defense, written = chosen(name, form), WRITTEN[name, form]
    views = random_views(n=50, spread=3.0)
    sides = views.natural.requires_grad_(), views.adv.requires_grad_()
    same(total(defense.outer(views)) * 50, written.loss, views, sides)
    if written.gain is not None:  # in the inner problem the clean prediction is a constant
        same(gains(defense, views)[0].sum(), written.gain, views, sides[1:])


def same(found: Tensor, equation: Callable[[Example], Tensor], views: Views, sides: tuple[Tensor, ...]) -> None:
    rows = zip(views.natural, views.adv, views.label.tolist(), views.target.sum(1), strict=True)
    expected = torch.stack([equation(Example(*row)) for row in rows]).sum()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    own, told = (
        torch.autograd.grad(value, sides, allow_unused=True, materialize_grads=True) for value in (found, expected)
    )
    torch.testing.assert_close(own, told, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("name", "form"), [("uat", "OT"), ("uat", "FT"), ("uat", "++"), ("vat", "")])
def test_nothing_flows_to_the_clean_logits_through_the_smoothness(name: str, form: str) -> None:
    views = random_views()
    views = views._replace(clean=views.natural.requires_grad_(), adv=views.adv.requires_grad_())
    terms = chosen(name, form).outer(views)
    assert ("smooth" in terms) is (form != "FT")
    for term in terms.keys() & {"smooth", "fixed"}:
        to_clean, to_adv = torch.autograd.grad(
            terms[term].sum(), (views.natural, views.adv), allow_unused=True, retain_graph=True
        )
        assert to_clean is None
        assert to_adv is not None
        assert (to_adv.abs().sum(1) > 0).all()


@pytest.mark.parametrize("outputs", ["logits", "softmax"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equal_outputs_have_no_distance_and_no_gradient(outputs: str, dtype: torch.dtype) -> None:
    clean = random_views().natural.to(dtype)
    clean, adv = clean.clone().requires_grad_(), clean.clone().requires_grad_()
    views = random_views()._replace(clean=clean, adv=adv)
    distance = defense_of("arr_l2", outputs=outputs).outer(views)["robust"]
    assert distance.eq(0).all()
    for gradient in torch.autograd.grad(distance.sum(), (clean, adv)):
        assert gradient.eq(0).all()


@pytest.mark.parametrize("gap", [20.0, 104.0, 300.0])
@pytest.mark.parametrize(("name", "form"), [("arr_l2", "softmax"), ("uat", "OT"), ("uat", "FT")])
def test_other_forms_are_finite_at_saturated_predictions(name: str, form: str, gap: float) -> None:
    label = torch.tensor([0, 1])
    sure = (gap * torch.eye(3)[label]).requires_grad_()
    wrong = (gap * torch.eye(3)[1 - label]).requires_grad_()
    for clean, adv in ((sure, sure), (sure, wrong), (wrong, sure)):
        views = Views(clean, adv, torch.eye(3)[label], label)
        for value in (*gains(chosen(name, form), views), *chosen(name, form).outer(views).values()):
            assert value.isfinite().all()
            for gradient in torch.autograd.grad(value.sum(), (sure, wrong), allow_unused=True):
                assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize(
    ("name", "own", "gamma", "start"),
    [
        ("madry_awp", "madry", 0.01, 0.0),
        ("trades_awp", "trades", 0.005, 0.05),
        ("mart_awp", "mart", 0.005, 0.05),
        ("rst_awp", "rst_adv", 0.005, 0.05),
        ("fire_awp", "fire", 0.005, 0.05),
    ],
)
def test_perturbed_weights_are_all_that_is_added(name: str, own: str, gamma: float, start: float) -> None:
    assert defense_of(name) == defense_of(own, weights=AdversarialWeights(gamma=gamma, start=start))


def test_weights_are_perturbed_from_epoch_10_of_200() -> None:
    weights = defense_of("trades_awp").weights
    assert weights is not None
    assert [epoch for epoch in range(1, 201) if weights.active(epoch / 200)] == [*range(10, 201)]


@pytest.mark.parametrize(
    ("name", "own"),
    [("overfitting", "madry"), ("pretraining", "madry"), ("mart_rst", "mart"), ("fire_rst", "fire")],
)
def test_the_loss_is_anothers(name: str, own: str) -> None:
    assert defense_of(name) == defense_of(own)
