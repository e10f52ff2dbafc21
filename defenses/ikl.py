"""IKL: TRADES with the improved, decoupled KL divergence."""

from dataclasses import dataclass

from torch import Tensor

from robench_fire import ClassMeans, Defense, Paper, Reported, Terms, Views
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
        flat = views.recalled["class_mean"].pow(self.power)
        weight = flat / flat.sum(1, keepdim=True)
        return {
            "natural": cross_entropy(views.natural, views.target),
            "wmse": self.alpha * weighted_mse(views.natural, views.adv, weight),
            "soft": self.beta * cross_entropy(views.adv, log_softmax(views.natural).exp().detach()),
        }


DEFENSE = Ikl(targets=ClassMeans())
