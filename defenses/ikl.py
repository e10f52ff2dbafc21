"""IKL: TRADES with the improved, decoupled KL divergence."""

from dataclasses import dataclass

from robench_fire.defenses import trades_awp
from torch import Tensor

from robench_fire import ClassMeans, Cosine, Defense, Paper, Plan, Reported, Sgd, Terms, Views
from robench_fire.losses import cross_entropy, kl, log_softmax, weighted_mse

GROUPS = ("distances",)
PAPER = Paper(
    key="Cui2023Decoupled",
    method="IKL",
    title="Decoupled Kullback-Leibler Divergence Loss",
    authors="Jiequan Cui, Zhuotao Tian, Zhisheng Zhong, Xiaojuan Qi, Bei Yu, Hanwang Zhang",
    venue="NeurIPS 2024",
    link="https://arxiv.org/abs/2305.13948",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 85.31, 57.09, "RobustBench"),
        Reported("cifar10", "Linf", "wrn-28-10", 92.16, 67.73, "RobustBench", extra_data=True),
        Reported("cifar100", "Linf", "wrn-34-10", 65.76, 31.91, "RobustBench"),
        Reported("cifar100", "Linf", "wrn-28-10", 73.85, 39.18, "RobustBench", extra_data=True),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Ikl(Defense):
    """CE(z, y) + alpha wMSE(z, z') + beta CE(z', sg p): Cui et al.; w are sg powers of the mean prediction of class y.

    With w the image's own p, and no gradient of wMSE to z', alpha = beta = 1 has the gradients of KL(p‖q): the paper's
    DKL. IKL lets both sides learn and takes the class's p, of the epoch before. Near p = q each term is half of
    Fisher's quadratic form, so 3 of each are as strong there as TRADES's 6. The attack is DKL's, which is KL's.
    """

    alpha: float = 3.0
    beta: float = 3.0
    power: float = 1.0

    def inner(self, views: Views) -> Tensor:
        return kl(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        flat, p = views.recalled["class_mean"].pow(self.power), log_softmax(views.natural).exp().detach()
        wmse = self.alpha * weighted_mse(views.natural, views.adv, flat / flat.sum(1, keepdim=True))
        natural, soft = cross_entropy(views.natural, views.target), self.beta * cross_entropy(views.adv, p)
        return {"natural": natural, "wmse": wmse, "soft": soft}


DEFENSE = Ikl(targets=ClassMeans())


def official(plan: Plan) -> Plan:
    """jiequancui/DKL, adv_training: its last radius and steps from the first epoch on, and its averaged weights."""
    if plan.dataset != "cifar10" or plan.recipe.extra:
        raise plan.unreleased()
    plan = plan.with_defense(alpha=20.0, beta=4.0, weights=trades_awp.AWP).with_eps("8/255", "4/255")
    plan = plan.with_recipe(passes=("adv", "clean"), epochs=200, batch_size=128, schedule=Cosine(), ema_decay=0.9996)
    return plan.with_attack(steps=5).with_recipe(optimiser=Sgd(lr=0.2, nesterov=False))
