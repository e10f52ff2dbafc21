"""Madry: adversarial training with PGD on cross-entropy."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robench_fire import Adam, Augment, Defense, Paper, Plan, Reported, Sgd, Steps, Terms, Views
from robench_fire.losses import cross_entropy

PAPER = Paper(
    key="Madry2018Towards",
    method="Madry",
    title="Towards Deep Learning Models Resistant to Adversarial Attacks",
    authors="Aleksander Madry, Aleksandar Makelov, Ludwig Schmidt, Dimitris Tsipras, Adrian Vladu",
    venue="ICLR 2018",
    link="https://arxiv.org/abs/1706.06083",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 87.56, 44.07, "FIRE, Table 2", 0.09, 0.27),
        Reported("cifar10", "Linf", "wrn-34-10", 87.14, 44.04, "RobustBench"),
        Reported("mnist", "Linf", "small-cnn", 98.53, 88.62, "FIRE, Table 2", 0.06, 0.23),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Madry(Defense):
    """min max CE(z', y): Madry et al., eq. 2.1."""

    clean_in_inner: ClassVar[bool] = False
    clean_in_outer: ClassVar[bool] = False

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def outer(self, views: Views) -> Terms:
        return {"adversarial": cross_entropy(views.adv, views.target)}


DEFENSE = Madry()


def matched(plan: Plan) -> Plan:
    """A cross-entropy attack starts anywhere in the ball."""
    return plan.with_attack(start="uniform")


def official(plan: Plan) -> Plan:
    """MadryLab/cifar10_challenge (80,000 steps of 128) and MadryLab/mnist_challenge (100,000 steps of 50)."""
    if plan.recipe.extra:
        raise plan.unreleased()
    if plan.dataset == "mnist":
        return plan.with_recipe(epochs=84, batch_size=50, optimiser=Adam(lr=1e-4), schedule=Steps(at=()))
    if plan.dataset == "cifar10":
        optimiser = Sgd(nesterov=False, weight_decay=2e-4, decay_only_weights=True)
        plan = plan.with_recipe(attack_mode="train", augment=Augment(pad=2), normalise="image")
        return plan.with_recipe(epochs=205, batch_size=128, optimiser=optimiser, schedule=Steps(at=(0.5, 0.75)))
    raise plan.unreleased()
