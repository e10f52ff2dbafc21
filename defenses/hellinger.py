"""Hellinger: FIRE with the squared Hellinger distance in place of the Fisher-Rao distance."""

from dataclasses import dataclass

from robench_fire.defenses import fire
from torch import Tensor

from robench_fire import Defense, Reported, Terms, Views
from robench_fire.losses import cross_entropy, squared_hellinger

GROUPS = ("distances",)
PAPER = fire.PAPER._replace(
    key="Picot2021Adversarial_Hellinger",
    method="Hellinger",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 85.96, 50.52, "FIRE, Table 3", 0.28, 0.31),
        Reported("cifar100", "Linf", "wrn-34-10", 60.79, 25.58, "FIRE, Table 3", 0.88, 0.27),
        Reported("mnist", "Linf", "small-cnn", 99.31, 94.03, "FIRE, Table 3", 0.03, 0.24),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Hellinger(Defense):
    """CE(z, y) + lam H²(p, q), H² = sum_k (√p_k - √q_k)²: Picot et al., appendix B, eq. 46 and 48.

    The paper repeats no lam there ("the same simulations"), so FIRE's.
    """

    lam: float = 12.0

    def inner(self, views: Views) -> Tensor:
        return squared_hellinger(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        natural = cross_entropy(views.natural, views.target)
        return {"natural": natural, "robust": self.lam * squared_hellinger(views.natural, views.adv)}


DEFENSE = Hellinger()
