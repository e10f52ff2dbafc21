"""VAT: virtual adversarial training, smooth predictions around each image."""

from dataclasses import dataclass

from torch import Tensor

from robench_fire import Defense, Paper, Plan, Terms, Views
from robench_fire.losses import cross_entropy, kl

PAPER = Paper(
    key="Miyato2018Virtual",
    method="VAT",
    title="Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised Learning",
    authors="Takeru Miyato, Shin-ichi Maeda, Masanori Koyama, Shin Ishii",
    venue="TPAMI 2018",
    link="https://arxiv.org/abs/1704.03976",
)


@dataclass(frozen=True, kw_only=True)
class Vat(Defense):
    """CE(z, y) + alpha KL(sg p‖q): Miyato et al. 2018; the current prediction stands for the true one."""

    alpha: float = 1.0

    def inner(self, views: Views) -> Tensor:
        return kl(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        natural = cross_entropy(views.natural, views.target)
        return {"natural": natural, "smooth": self.alpha * kl(views.natural.detach(), views.adv)}


DEFENSE = Vat()


def matched(plan: Plan) -> Plan:
    """One step of the radius from beside the image: one power iteration, by the sign where the ball is L-infinity."""
    return plan.with_attack(steps=1, step=plan.threat.eps)
