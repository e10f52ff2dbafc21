"""ARR-L2: adversarial robustness regularisation by the L2 distance of outputs, with a light attack."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from robench_fire.defenses import arr_kl
from torch import Tensor

from robench_fire import Defense, Terms, Views
from robench_fire.losses import cross_entropy, distance, log_softmax

PAPER = arr_kl.PAPER._replace(key="Anonymous2025Adversarial_L2", method="ARR-L2")


@dataclass(frozen=True, kw_only=True)
class ArrL2(Defense):
    """CE(z, y) + lam ‖f(x) - f(x')‖₂, where x' maximises CE(z', y): ARR, sections 3.1 and 3.2.

    ``outputs``: f is the logits or the softmax; the paper allows both. Where they are equal, the gradient is 0.
    """

    clean_in_inner: ClassVar[bool] = False
    lam: float = 1.0
    outputs: Literal["logits", "softmax"] = "logits"

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def outer(self, views: Views) -> Terms:
        pair = views.natural, views.adv
        if self.outputs == "softmax":
            pair = log_softmax(views.natural).exp(), log_softmax(views.adv).exp()
        return {"natural": cross_entropy(views.natural, views.target), "robust": self.lam * distance(*pair)}


DEFENSE = ArrL2()

matched = arr_kl.matched
official = arr_kl.official
