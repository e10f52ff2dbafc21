"""HAT: TRADES with helper examples, twice as far away as the perturbed ones, against margins larger than needed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robench_fire import Defense, OneCycle, Paper, Plan, Reported, Sgd, Terms, View, Views
from robench_fire.losses import cross_entropy, kl

PAPER = Paper(
    key="Rade2021Helper",
    method="HAT",
    title="Reducing Excessive Margin to Achieve a Better Accuracy vs. Robustness Trade-off",
    authors="Rahul Rade, Seyed-Mohsen Moosavi-Dezfooli",
    venue="ICLR 2022",
    link="https://openreview.net/forum?id=Azh9QBQ4tR7",
    reported=(
        Reported("cifar10", "Linf", "resnet-18", 84.90, 49.08, "HAT, README"),
        Reported("cifar10", "Linf", "preact-resnet-18", 86.86, 57.09, "RobustBench", extra_data=True),
        Reported("cifar10", "Linf", "wrn-34-10", 91.47, 62.83, "RobustBench", extra_data=True),
        Reported("cifar10", "L2", "preact-resnet-18", 90.57, 76.15, "RobustBench", extra_data=True),
        Reported("cifar100", "Linf", "preact-resnet-18", 61.50, 28.88, "RobustBench", extra_data=True),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Hat(Defense):
    """CE(z, y) + beta KL(p‖q) + gamma CE(z(x + 2 r), ŷ), r = x' - x, ŷ the teacher's class of x'; not clipped."""

    further: ClassVar[tuple[View, ...]] = (View(name="helper", image=lambda x, adv: x + 2 * (adv - x)),)
    teacher_reads: ClassVar[tuple[str, ...]] = ("adv",)
    teacher_is: ClassVar[str] = "a network trained without attack, as `robench train standard DATASET` makes one"
    beta: float = 2.5
    gamma: float = 0.5

    def inner(self, views: Views) -> Tensor:
        return kl(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        taken = views.teacher["adv"].argmax(1, keepdim=True)
        taught = torch.zeros_like(views.target).scatter(1, taken, views.target.sum(1, keepdim=True))
        natural, robust = cross_entropy(views.natural, views.target), self.beta * self.inner(views)
        helper = self.gamma * cross_entropy(views.more["helper"], taught)
        return {"natural": natural, "robust": robust, "helper": helper}


DEFENSE = Hat()


def official(plan: Plan) -> Plan:
    """imrahulr/hat, README: ResNet-18, 50 epochs of batches of 128, one cycle up to 0.21, the best epoch kept."""
    if plan.dataset != "cifar10" or plan.recipe.extra:
        raise plan.unreleased()
    plan = plan.with_recipe(arch="resnet-18", epochs=50, batch_size=128, select="validation")
    return plan.with_recipe(optimiser=Sgd(lr=0.21), schedule=OneCycle(peak=0.25))
