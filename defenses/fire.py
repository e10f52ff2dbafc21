"""FIRE: Fisher-Rao regularisation between clean and adversarial predictions."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from robench_fire import Augment, Cosine, Defense, Paper, Plan, Reported, Sgd, Steps, Terms, Views
from robench_fire.losses import cross_entropy, squared_fisher_rao, squared_half_angle

GROUPS = ("distances",)
PAPER = Paper(
    key="Picot2021Adversarial",
    method="FIRE",
    title="Adversarial Robustness via Fisher-Rao Regularization",
    authors="Marine Picot, Francisco Messina, Malik Boudiaf, Fabrice Labeau, Ismail Ben Ayed, Pablo Piantanida",
    venue="TPAMI 2022",
    link="https://arxiv.org/abs/2106.06685",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 85.98, 51.45, "FIRE, Table 1", 0.09, 0.32),
        Reported("cifar10", "Linf", "wrn-28-10", 89.73, 59.97, "FIRE, Table 2", 0.04, 0.11, extra_data=True),
        Reported("cifar100", "Linf", "wrn-34-10", 61.03, 26.42, "FIRE, Table 1", 0.21, 0.21),
        Reported("mnist", "Linf", "small-cnn", 99.22, 94.44, "FIRE, Table 1", 0.02, 0.14),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Fire(Defense):
    """CE(z, y) + lam * squared distance: Picot et al., eq. 7 with the distance of eq. 15.

    ``distance``: "half-angle" is arccos(BC)^2, what the released code computes; "geodesic" is the paper's literal
    (2 arccos BC)^2, four times as strong at the same lam. BC = sum_k sqrt(p_k q_k).
    """

    lam: float = 12.0
    distance: Literal["half-angle", "geodesic"] = "half-angle"

    def inner(self, views: Views) -> Tensor:
        squared = squared_half_angle if self.distance == "half-angle" else squared_fisher_rao
        return squared(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        return {"natural": cross_entropy(views.natural, views.target), "robust": self.lam * self.inner(views)}


DEFENSE = Fire()


def official(plan: Plan) -> Plan:
    """MarinePICOT/Adversarial-Robustness-via-Fisher-Rao-Regularization: its three configurations, lam 20."""
    if plan.recipe.extra and plan.dataset != "cifar10":
        raise plan.unreleased()
    plan, drops = plan.with_defense(lam=20.0).with_recipe(passes=("adv", "clean", "adv")), Steps(at=(0.75, 0.9, 1.0))
    if plan.dataset == "mnist":
        optimiser = Sgd(lr=0.01, nesterov=False, weight_decay=0.0)
        return plan.with_recipe(batch_size=128, optimiser=optimiser, schedule=drops)
    if plan.dataset in ("cifar10", "cifar100"):
        schedule = Cosine() if plan.dataset == "cifar100" or plan.recipe.extra else drops
        augment = Augment(rotate=15.0, jitter=0.25)
        return plan.with_eps("0.031", "0.007").with_recipe(schedule=schedule, augment=augment)
    raise plan.unreleased()
