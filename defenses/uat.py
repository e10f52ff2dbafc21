"""UAT: unsupervised adversarial training, smoothness (OT), pseudo-labels (FT), or both (UAT++)."""

from dataclasses import dataclass
from typing import Literal

from robench_fire.defenses import rst_adv
from torch import Tensor

from robench_fire import Defense, Paper, Plan, Reported, Terms, Views
from robench_fire.losses import cross_entropy, kl

PAPER = Paper(
    key="Alayrac2019Labels",
    method="UAT",
    title="Are Labels Required for Improving Adversarial Robustness?",
    authors="Jean-Baptiste Alayrac, Jonathan Uesato, Po-Sen Huang, Alhussein Fawzi, Robert Stanforth, Pushmeet Kohli",
    venue="NeurIPS 2019",
    link="https://arxiv.org/abs/1905.13725",
    reported=(
        Reported("cifar10", "Linf", "wrn-106-8", 86.46, 56.03, "FIRE, Table 2", extra_data=True),
        Reported("cifar10", "Linf", "wrn-106-8", 86.46, 56.03, "RobustBench", extra_data=True),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Uat(Defense):
    """Alayrac et al. 2019: FT is CE(z', y) on labels and pseudo-labels; OT is KL(sg p‖q), which needs neither.

    UAT++ is FT + lam OT; OT alone stands beside CE(z, y). One perturbation maximises what the variant penalises. No
    training code was released, and lam is ours.
    """

    variant: Literal["OT", "FT", "++"] = "++"
    lam: float = 5.0

    def inner(self, views: Views) -> Tensor:
        return sum(self._robust(views).values(), views.adv.new_zeros(()))

    def outer(self, views: Views) -> Terms:
        natural = {"natural": cross_entropy(views.natural, views.target)} if self.variant == "OT" else {}
        return natural | self._robust(views)

    def _robust(self, views: Views) -> Terms:
        fixed = {} if self.variant == "OT" else {"fixed": cross_entropy(views.adv, views.target)}
        smooth = {} if self.variant == "FT" else {"smooth": self.lam * kl(views.natural.detach(), views.adv)}
        return fixed | smooth


DEFENSE = Uat()


def matched(plan: Plan) -> Plan:
    """As RST-adv brings its images; the attack starts anywhere in the ball, as one on labels does."""
    made: Plan = rst_adv.matched(plan)
    return made.with_attack(start="uniform")
