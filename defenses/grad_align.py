"""GradAlign: one step from the image, and gradients around it that point the same way."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robench_fire import Cyclic, Defense, Paper, Plan, Reported, Sgd, Terms, View, Views
from robench_fire.losses import cosine, cross_entropy

PAPER = Paper(
    key="Andriushchenko2020Understanding",
    method="GradAlign",
    title="Understanding and Improving Fast Adversarial Training",
    authors="Maksym Andriushchenko, Nicolas Flammarion",
    venue="NeurIPS 2020",
    link="https://arxiv.org/abs/2007.02617",
    reported=(Reported("cifar10", "Linf", "preact-resnet-18", 79.84, 43.93, "RobustBench"),),
)


@dataclass(frozen=True, kw_only=True)
class GradAlign(Defense):
    """CE(z', y) + lam (1 - cos(∇ₓ CE(z, y), ∇ₓ CE(z_η, y))), η anywhere in the ball: their section 5."""

    clean_in_inner: ClassVar[bool] = False
    further: ClassVar[tuple[View, ...]] = (View(name="near", around=1.0),)
    gradients_at: ClassVar[tuple[str, ...]] = ("clean", "near")
    lam: float = 0.2

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def slope(self, views: Views) -> Tensor:
        return cross_entropy(views.natural, views.target) + cross_entropy(views.more["near"], views.target)

    def outer(self, views: Views) -> Terms:
        apart = 1 - cosine(views.gradients["clean"], views.gradients["near"])
        return {"adversarial": cross_entropy(views.adv, views.target), "alignment": self.lam * apart}


DEFENSE = GradAlign()


def matched(plan: Plan) -> Plan:
    """FGSM: one step of the radius from the image."""
    return plan.with_attack(steps=1, step=plan.threat.eps, start="zero")


def official(plan: Plan) -> Plan:
    """tml-epfl/understanding-fast-adv-training, the line for eps 8 of its CIFAR-10 script."""
    if plan.dataset != "cifar10" or plan.recipe.extra:
        raise plan.unreleased()
    plan = plan.with_recipe(arch="preact-resnet-18", attack_mode="train", epochs=30, batch_size=128)
    return plan.with_recipe(optimiser=Sgd(lr=0.3, nesterov=False), schedule=Cyclic(peak=0.4))
