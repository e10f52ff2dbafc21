"""A small defense for everything that a loss can ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robench_fire.losses import cross_entropy, kl, log_softmax
from robench_fire.problem.defense import Defense, Ramp, Terms, View, Views


@dataclass(frozen=True, kw_only=True)
class Trades(Defense):
    """CE(z, y) + 6 KL(p‖q), with a coefficient that may move."""

    lam: Ramp = Ramp(first=6.0, last=6.0)

    def inner(self, views: Views) -> Tensor:
        return kl(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        return {
            "natural": cross_entropy(views.natural, views.target),
            "robust": self.lam.at(views.progress) * kl(views.natural, views.adv),
        }


def beyond(clean: Tensor, adv: Tensor) -> Tensor:
    """x + 2 delta (Rade & Moosavi-Dezfooli 2022)."""
    return (2 * adv - clean).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Helper(Trades):
    """And the cross-entropy of helper images."""

    further: ClassVar[tuple[View, ...]] = (View(name="helper", image=beyond),)

    def outer(self, views: Views) -> Terms:
        return super().outer(views) | {"helper": 0.5 * cross_entropy(views.more["helper"], views.target)}


def wrong(defense: Defense, views: Views) -> Tensor:
    """What a second attack maximises."""
    return cross_entropy(views.adv, views.target)


@dataclass(frozen=True, kw_only=True)
class TwoAttacks(Trades):
    """And the cross-entropy of images that a second attack finds."""

    further: ClassVar[tuple[View, ...]] = (View(name="wrong", gain=wrong),)

    def outer(self, views: Views) -> Terms:
        return super().outer(views) | {"wrong": cross_entropy(views.more["wrong"], views.target)}


@dataclass(frozen=True, kw_only=True)
class Features(Trades):
    """And the distance of the features."""

    features: ClassVar[bool] = True

    def outer(self, views: Views) -> Terms:
        apart = views.features["clean"] - views.features["adv"]
        return super().outer(views) | {"features": apart.square().mean(1)}


@dataclass(frozen=True, kw_only=True)
class Slopes(Defense):
    """CE(z', y) and the squared norm of its gradient (Ross & Doshi-Velez 2018) at the perturbed images."""

    clean_in_inner: ClassVar[bool] = False
    clean_in_outer: ClassVar[bool] = False
    gradients_at: ClassVar[tuple[str, ...]] = ("adv",)

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def slope(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def outer(self, views: Views) -> Terms:
        return {"robust": self.slope(views), "slope": 0.1 * views.gradients["adv"].square().sum(1)}


@dataclass(frozen=True, kw_only=True)
class SlopesTwice(Trades):
    """Penalises the gradient of KL(p‖q) with respect to both images."""

    gradients_at: ClassVar[tuple[str, ...]] = ("clean", "adv")

    def slope(self, views: Views) -> Tensor:
        return kl(views.natural, views.adv)

    def outer(self, views: Views) -> Terms:
        return super().outer(views) | {
            "slope": sum((each.square().sum(1) for each in views.gradients.values()), torch.zeros(()))
        }


@dataclass(frozen=True, kw_only=True)
class DoubleBackprop(Defense):
    """The same penalty at clean images, in a recipe without an attack."""

    clean_in_inner: ClassVar[bool] = False
    gradients_at: ClassVar[tuple[str, ...]] = ("clean",)

    def slope(self, views: Views) -> Tensor:
        return cross_entropy(views.natural, views.target)

    def outer(self, views: Views) -> Terms:
        return {"natural": self.slope(views), "slope": 0.1 * views.gradients["clean"].square().sum(1)}


@dataclass(frozen=True, kw_only=True)
class Nuclear(Trades):
    """And the nuclear norm of the logits' difference (Sriramanan et al. 2021), of the batch as a whole."""

    def over_batch(self, views: Views) -> Terms:
        apart = views.adv - views.natural
        return {"nuclear": torch.linalg.matrix_norm(apart, "nuc") / len(apart)}


@dataclass(frozen=True, kw_only=True)
class NuclearAttack(Nuclear):
    """Whose attack climbs the batch's nuclear norm, in every other batch."""

    def inner(self, views: Views) -> Tensor:
        return cross_entropy(views.adv, views.target)

    def inner_over_batch(self, views: Views) -> Tensor:
        apart = views.adv - views.natural
        return views.turn % 2 * 3 * torch.linalg.matrix_norm(apart, "nuc") / len(apart)


@dataclass(frozen=True, kw_only=True)
class Nearby(Trades):
    """And the cross-entropy of random images in the ball of half the radius."""

    further: ClassVar[tuple[View, ...]] = (View(name="near", around=0.5),)

    def outer(self, views: Views) -> Terms:
        return super().outer(views) | {"near": cross_entropy(views.more["near"], views.target)}


@dataclass(frozen=True, kw_only=True)
class SlopesNearby(Nearby):
    """And how much the gradient there differs from that at the image."""

    gradients_at: ClassVar[tuple[str, ...]] = ("clean", "near")

    def slope(self, views: Views) -> Tensor:
        return cross_entropy(views.natural, views.target) + cross_entropy(views.more["near"], views.target)

    def outer(self, views: Views) -> Terms:
        apart = views.gradients["clean"] - views.gradients["near"]
        return super().outer(views) | {"slope": apart.square().sum(1)}


@dataclass(frozen=True, kw_only=True)
class Weighted(Trades):
    """KL(p‖q) counts for more where the clean image is classified with less confidence."""

    def outer(self, views: Views) -> Terms:
        right = (views.target * log_softmax(views.natural)).sum(1).exp().detach()
        terms = super().outer(views)
        return terms | {"robust": (1 - right) * terms["robust"]}


@dataclass(frozen=True, kw_only=True)
class Taught(Defense):
    """Both images are told the teacher's opinion of the clean one (RSLAD, Zi et al. 2021)."""

    clean_in_inner: ClassVar[bool] = False
    teacher_reads: ClassVar[tuple[str, ...]] = ("clean",)

    def inner(self, views: Views) -> Tensor:
        return kl(views.teacher["clean"], views.adv)

    def outer(self, views: Views) -> Terms:
        told = views.teacher["clean"]
        return {"natural": kl(told, views.natural) / 6, "robust": 5 * kl(told, views.adv) / 6}


@dataclass(frozen=True, kw_only=True)
class TaughtTwice(Trades):
    """Each image is told the teacher's opinion of itself."""

    teacher_reads: ClassVar[tuple[str, ...]] = ("clean", "adv")

    def outer(self, views: Views) -> Terms:
        told = views.teacher
        return super().outer(views) | {"told": kl(told["clean"], views.natural) + kl(told["adv"], views.adv)}


@dataclass(frozen=True, kw_only=True)
class Typical(Trades):
    """And the perturbed image is told what was predicted of its class."""

    def outer(self, views: Views) -> Terms:
        return super().outer(views) | {"typical": cross_entropy(views.adv, views.recalled["class_mean"])}
