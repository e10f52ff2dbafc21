"""NuAT: nuclear-norm adversarial training, the distance of a batch's logits as a whole."""

from dataclasses import dataclass

from robench_fire.defenses import gat
from torch import Tensor

from robench_fire import Cyclic, Defense, Paper, Plan, Ramp, Reported, Terms, Views
from robench_fire.losses import cross_entropy, nuclear_norm

PAPER = Paper(
    key="Sriramanan2021Towards",
    method="NuAT",
    title="Towards Efficient and Effective Adversarial Training",
    authors="Gaurang Sriramanan, Sravanti Addepalli, Arya Baburaj, R. Venkatesh Babu",
    venue="NeurIPS 2021",
    link="https://proceedings.neurips.cc/paper/2021/hash/62889e73828c756c961c5a6d6c01a463-Abstract.html",
    reported=(Reported("cifar10", "Linf", "resnet-18", 80.98, 50.10, "Pan and Yao 2026"),),
)


@dataclass(frozen=True, kw_only=True)
class NuAt(Defense):
    """CE(z, y) + lam ‖Z' - Z‖_* / N, where X' maximises CE(z', y) + lam ‖Z' - Z‖_* / N over the batch.

    Rows of Z and Z' are logits. ``alternate``: the attack forgets its second term in every other batch, as in the code.
    """

    lam: Ramp = Ramp(last=4.5, begin=0.01, end=0.91)
    alternate: bool = False

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def inner_over_batch(self, views: Views) -> Tensor:
        return self._apart(views) * (views.turn % 2 if self.alternate else 1)

    def outer(self, views: Views) -> Terms:
        return {"natural": cross_entropy(views.natural, views.target)}

    def over_batch(self, views: Views) -> Terms:
        return {"nuclear": self._apart(views)}

    def _apart(self, views: Views) -> Tensor:
        return self.lam.at(views.progress) * nuclear_norm(views.adv - views.natural) / len(views.adv)


DEFENSE = NuAt()

matched = gat.matched


def official(plan: Plan) -> Plan:
    """val-iisc/NuAT, CIFAR10: ResNet-18, batches of 64, as GAT's, but a rate that climbs over 40 epochs of 100."""
    as_gat: Plan = gat.official(plan)
    return as_gat.with_defense(lam=DEFENSE.lam).with_recipe(schedule=Cyclic(peak=0.4))
