"""ARR-KL: adversarial robustness regularisation by the KL divergence, with a light attack."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from torch import Tensor

from robench_fire import Defense, Paper, Plan, Sgd, Steps, Terms, Views
from robench_fire.losses import cross_entropy, kl

PAPER = Paper(
    key="Anonymous2025Adversarial_KL",
    method="ARR-KL",
    title="Adversarial Robustness Regularization",
    authors="Anonymous",
    venue="Gazette Tracker, July 2025 (its text breaks off in section 4.1)",
    link="https://gazettetracker.com/g/SG-DL-E-15072025-264662",
)


@dataclass(frozen=True, kw_only=True)
class ArrKl(Defense):
    """CE(z, y) + lam KL(p‖q), where x' maximises CE(z', y): ARR, sections 3.1 and 3.2. The paper gives no lam."""

    clean_in_inner: ClassVar[bool] = False
    lam: float = 6.0

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def outer(self, views: Views) -> Terms:
        natural = cross_entropy(views.natural, views.target)
        return {"natural": natural, "robust": self.lam * kl(views.natural, views.adv)}


DEFENSE = ArrKl()


def matched(plan: Plan) -> Plan:
    """Three steps of half the radius from anywhere in the ball: the paper says one to three steps of PGD, or FGSM."""
    return plan.with_attack(steps=3, step=plan.threat.eps.times(Fraction(1, 2)), start="uniform")


def official(plan: Plan) -> Plan:
    """The paper's text, as there is no code: ResNet-18, drops at 100 and 150; batch, epochs and decay are ours."""
    if plan.dataset not in ("cifar10", "cifar100") or plan.recipe.extra:
        raise plan.unreleased()
    schedule = Steps(at=(0.5, 0.75))
    return plan.with_recipe(
        arch="resnet-18", epochs=200, batch_size=128, optimiser=Sgd(nesterov=False), schedule=schedule
    )
