"""GAT: guided adversarial training, one step up the distance of predictions as well as the cross-entropy."""

from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from robench_fire import Defense, Paper, Pgd, Plan, Ramp, Reported, Sgd, Steps, Terms, Views
from robench_fire.losses import cross_entropy, log_softmax

PAPER = Paper(
    key="Sriramanan2020Guided",
    method="GAT",
    title="Guided Adversarial Attack for Evaluating and Enhancing Adversarial Defenses",
    authors="Gaurang Sriramanan, Sravanti Addepalli, Arya Baburaj, R. Venkatesh Babu",
    venue="NeurIPS 2020",
    link="https://arxiv.org/abs/2011.14969",
    reported=(Reported("cifar10", "Linf", "resnet-18", 85.10, 49.15, "Pan and Yao 2026"),),
)


@dataclass(frozen=True, kw_only=True)
class Gat(Defense):
    """CE(z, y) + lam ‖p - q‖₂², where x' maximises CE(z', y) + lam ‖p - q‖₂².

    ``alternate``: the attack forgets its second term in every other batch, as in the released code.
    """

    lam: Ramp = Ramp(first=10.0, last=10.0)
    alternate: bool = False

    def inner(self, views: Views) -> Tensor:
        guide = views.turn % 2 if self.alternate else 1
        return cross_entropy(views.adv, views.target) + guide * self._apart(views)

    def outer(self, views: Views) -> Terms:
        return {"natural": cross_entropy(views.natural, views.target), "robust": self._apart(views)}

    def _apart(self, views: Views) -> Tensor:
        chord = log_softmax(views.natural).exp() - log_softmax(views.adv).exp()
        return self.lam.at(views.progress) * chord.square().sum(1)


DEFENSE = Gat()


def matched(plan: Plan) -> Plan:
    """One step of the radius from a corner of the ball of half the radius."""
    return plan.with_attack(steps=1, step=plan.threat.eps, start="bernoulli", spread=0.5)


def official(plan: Plan) -> Plan:
    """val-iisc/GAMA-GAT, CIFAR10: lam times 4 from epoch 87 on, and an attack that is guided in every other batch."""
    if plan.dataset != "cifar10" or plan.recipe.extra:
        raise plan.unreleased()
    plan = plan.with_defense(alternate=True, lam=Ramp(first=10.0, last=40.0, begin=0.86, end=0.87))
    plan = plan.with_recipe(optimiser=Sgd(nesterov=False), schedule=Steps(at=(0.72, 0.87)), select="validation")
    judge = Pgd(steps=7, step=plan.threat.eps.times(Fraction(1, 7)), start="zero")
    return plan.with_recipe(validation_attack=judge, arch="resnet-18", batch_size=64, passes=("clean", "adv", "clean"))
