"""TRADES: trade accuracy for robustness through a KL penalty."""

from dataclasses import dataclass

from torch import Tensor

from robench_fire import Defense, Paper, Plan, Reported, Sgd, Steps, Terms, Views
from robench_fire.losses import cross_entropy, kl

GROUPS = ("distances",)
PAPER = Paper(
    key="Zhang2019Theoretically",
    method="TRADES",
    title="Theoretically Principled Trade-off between Robustness and Accuracy",
    authors="Hongyang Zhang, Yaodong Yu, Jiantao Jiao, Eric P. Xing, Laurent El Ghaoui, Michael I. Jordan",
    venue="ICML 2019",
    link="https://arxiv.org/abs/1901.08573",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 85.84, 50.47, "FIRE, Table 1", 0.31, 0.36),
        Reported("cifar10", "Linf", "wrn-34-10", 84.79, 52.12, "FIRE, Table 2", 0.24, 0.28),
        Reported("cifar10", "Linf", "wrn-34-10", 84.92, 53.08, "RobustBench", eps="0.031"),
        Reported("cifar100", "Linf", "wrn-34-10", 59.62, 25.89, "FIRE, Table 1", 0.42, 0.26),
        Reported("mnist", "Linf", "small-cnn", 99.27, 94.27, "FIRE, Table 1", 0.03, 0.18),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Trades(Defense):
    """CE(z, y) + beta KL(p‖q): Zhang et al., eq. 5, on the clean sample; gradient through both sides of the KL."""

    beta: float = 6.0

    def inner(self, views: Views) -> Tensor:
        return kl(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        natural = cross_entropy(views.natural, views.target)
        return {"natural": natural, "robust": self.beta * kl(views.natural, views.adv)}


DEFENSE = Trades()


def official(plan: Plan) -> Plan:
    """yaodongyu/TRADES: stops two epochs after the first drop on CIFAR-10; beta 1 on MNIST."""
    if plan.recipe.extra:
        raise plan.unreleased()
    twice = plan.with_recipe(passes=("clean", "adv", "clean"), batch_size=128)
    if plan.dataset == "cifar10":
        optimiser, schedule = Sgd(nesterov=False, weight_decay=2e-4), Steps(at=(75 / 76,))
        return twice.with_eps("0.031", "0.007").with_recipe(epochs=76, optimiser=optimiser, schedule=schedule)
    if plan.dataset == "mnist":
        optimiser, schedule = Sgd(lr=0.01, nesterov=False, weight_decay=0.0), Steps(at=(0.55, 0.75, 0.9))
        return twice.with_defense(beta=1.0).with_recipe(optimiser=optimiser, schedule=schedule)
    raise plan.unreleased()
