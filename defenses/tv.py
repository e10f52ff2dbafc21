"""TV: FIRE with the squared total variation distance in place of the Fisher-Rao distance."""

from dataclasses import dataclass

from robench_fire.defenses import fire
from torch import Tensor

from robench_fire import Defense, Terms, Views
from robench_fire.losses import cross_entropy, total_variation

GROUPS = ("distances",)
PAPER = fire.PAPER._replace(key="Picot2021Adversarial_TV", method="TV", reported=())


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Defense):
    """CE(z, y) + lam TV²(p, q), TV = ½ sum_k |p_k - q_k|: in no paper.

    Squared, as the others are squares of distances: TV itself pulls as hard on predictions that are nearly equal as on
    opposite ones. Its square is no multiple of Fisher's quadratic form near p = q, but by Pinsker's inequality
    KL >= 2 TV², with equality there for two equally likely classes. So lam is 12, for TRADES's 6.
    """

    lam: float = 12.0

    def inner(self, views: Views) -> Tensor:
        return total_variation(views.natural, views.adv).square()

    def outer(self, views: Views) -> Terms:
        return {"natural": cross_entropy(views.natural, views.target), "robust": self.lam * self.inner(views)}


DEFENSE = TotalVariation()
