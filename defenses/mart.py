"""MART: misclassification-aware adversarial training."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robench_fire import Defense, Paper, Plan, Reported, Sgd, Steps, Terms, Views
from robench_fire.losses import cross_entropy, kl, log_softmax

PAPER = Paper(
    key="Wang2020Improving",
    method="MART",
    title="Improving Adversarial Robustness Requires Revisiting Misclassified Examples",
    authors="Yisen Wang, Difan Zou, Jinfeng Yi, James Bailey, Xingjun Ma, Quanquan Gu",
    venue="ICLR 2020",
    link="https://openreview.net/forum?id=rklOg6EFwS",
    reported=(
        Reported("cifar10", "Linf", "wrn-28-10", 87.39, 56.69, "FIRE, Table 2", 0.12, 0.28, extra_data=True),
        Reported("cifar10", "Linf", "wrn-28-10", 87.50, 56.29, "RobustBench", extra_data=True),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Mart(Defense):
    """BCE(z', y) + beta KL(p‖q) (1 - p_y): Wang et al., eq. 11, with the constants of the released code."""

    clean_in_inner: ClassVar[bool] = False
    one_class: ClassVar[bool] = True
    beta: float = 6.0

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def outer(self, views: Views) -> Terms:
        q, p = log_softmax(views.adv).exp(), log_softmax(views.natural).exp()
        runner_up = q.scatter(1, views.label[:, None], 0.0).amax(1)
        boosted = cross_entropy(views.adv, views.target) - views.target.sum(1) * (1.0001 - runner_up).log()
        doubt = 1.0000001 - p.gather(1, views.label[:, None])[:, 0]
        return {"boosted": boosted, "robust": self.beta * doubt * kl(views.natural, views.adv)}


DEFENSE = Mart()


def matched(plan: Plan) -> Plan:
    """A cross-entropy attack starts anywhere in the ball; beta is 5 on ResNet-18, as in the released scripts."""
    return plan.with_defense(beta=5.0 if plan.recipe.arch == "resnet-18" else 6.0).with_attack(start="uniform")


def official(plan: Plan) -> Plan:
    """YisenWang/MART: train_wideresnet (90 epochs) or, for resnet-18, train_resnet (120 epochs)."""
    if plan.dataset != "cifar10" or plan.recipe.extra:
        raise plan.unreleased()
    epochs, schedule, optimiser = 90, Steps(at=(75 / 90, 1.0)), Sgd(nesterov=False, weight_decay=7e-4)
    if plan.recipe.arch == "resnet-18":
        epochs, schedule = 120, Steps(at=(75 / 120, 90 / 120, 100 / 120))
        optimiser = Sgd(lr=0.01, nesterov=False, weight_decay=3.5e-3)
    plan = plan.with_eps("0.031", "0.007").with_attack(start="gaussian").with_recipe(select="validation")
    return plan.with_recipe(epochs=epochs, batch_size=128, optimiser=optimiser, schedule=schedule)
