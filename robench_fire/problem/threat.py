"""Threat models: which perturbations the adversary may choose. Geometry is a value handed to the attack loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Generator, Tensor

from robench_fire.quantity import Quantity


class Threat(Protocol):
    """An l_p ball of radius ``eps`` around the image, cut with [0, 1]. Images are (N, C, H, W) floats in [0, 1]."""

    norm: ClassVar[str]

    @property
    def eps(self) -> Quantity: ...

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The point of the ball around ``x`` and of [0, 1] that replaces ``x_adv``."""

    def bounded(self, perturbation: Tensor) -> Tensor:
        """The perturbation of at most the radius that replaces ``perturbation``; images play no part."""

    def ascend(self, x_adv: Tensor, grad: Tensor, step: float) -> Tensor:
        """One step of length ``step`` (in this norm) in the steepest direction for ``grad``."""

    def sample(self, x: Tensor, generator: Generator) -> Tensor:
        """A uniformly random point of the ball around ``x``, projected."""

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """(N,) size of each perturbation in this norm."""


FARTHEST = 1e6
"""The longest radius and step: no two images are so far apart, and float32 still holds the square of such lengths."""


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True, init=False)
class Linf:
    """Every pixel may change by at most ``eps``, as in ``Linf("8/255")``; pixels are in [0, 1].

    A radius given as text keeps it: ``Linf("8/255")`` and ``Linf(8 / 255)`` are equal, but a run folder and a table
    show what was written.

    Raises:
        ValueError: if ``eps`` is no number, or outside [0, 1].
    """

    norm: ClassVar[str] = "Linf"
    eps: Quantity

    def __init__(self, eps: Quantity | str | float) -> None:
        object.__setattr__(self, "eps", Quantity(eps))
        if not 0 <= self.eps <= 1:
            raise ValueError(f"eps {self.eps} is outside [0, 1], the range of a pixel; CIFAR uses 8/255")

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x_adv, x - self.eps), x + self.eps).clamp(0, 1)

    def bounded(self, perturbation: Tensor) -> Tensor:
        return perturbation.clamp(-self.eps, self.eps)

    def ascend(self, x_adv: Tensor, grad: Tensor, step: float) -> Tensor:
        return x_adv + step * grad.sign()

    def sample(self, x: Tensor, generator: Generator) -> Tensor:
        noise = torch.empty_like(x).uniform_(-self.eps, self.eps, generator=generator)
        return self.project(x + noise, x)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return (x_adv - x).flatten(1).abs().amax(1)


@dataclass(frozen=True, init=False)
class L2:
    """The perturbation's Euclidean length over all pixels is at most ``eps``, as in ``L2(0.5)``; pixels are in [0, 1].

    Raises:
        ValueError: if ``eps`` is no number, negative, or more than FARTHEST.
    """

    norm: ClassVar[str] = "L2"
    eps: Quantity

    def __init__(self, eps: Quantity | str | float) -> None:
        object.__setattr__(self, "eps", Quantity(eps))
        if not 0 <= self.eps <= FARTHEST:
            said = "negative" if self.eps < 0 else "farther than any image is from another"
            raise ValueError(f"eps {self.eps} is {said}; CIFAR's L2 boards use 0.5")

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return (x + self.bounded(x_adv - x)).clamp(0, 1)

    def bounded(self, perturbation: Tensor) -> Tensor:
        length = perturbation.flatten(1).square().sum(1).sqrt().clamp_min(1e-12)
        return perturbation * _per_image((self.eps / length).clamp_max(1), perturbation)

    def ascend(self, x_adv: Tensor, grad: Tensor, step: float) -> Tensor:
        grad = grad.nan_to_num(0.0)  # what is no number leads nowhere, as by the sign; infinity is very steep
        largest = _per_image(grad.flatten(1).abs().amax(1), grad)
        grad = grad / largest.clamp_min(torch.finfo(grad.dtype).tiny)  # a confident image's gradient is tiny, not zero
        return x_adv + grad * _per_image(step / grad.flatten(1).norm(dim=1).clamp_min(1), grad)

    def sample(self, x: Tensor, generator: Generator) -> Tensor:
        direction = torch.empty_like(x).normal_(generator=generator)
        share = torch.rand(len(x), generator=generator, device=x.device) ** (1 / x[0].numel())
        length = direction.flatten(1).norm(dim=1).clamp_min(1e-12)
        return self.project(x + direction * _per_image(self.eps * share / length, x), x)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return (x_adv - x).flatten(1).square().sum(1).sqrt()


def scaled(threat: Threat, radii: float) -> Threat:
    """The ball of so many radii.

    Raises:
        ValueError: if it has no such radius: Linf's is at most 1.
    """
    return replace(threat, eps=radii * threat.eps)  # type: ignore[type-var]  # every Threat is a dataclass


THREATS: dict[str, type[Linf] | type[L2]] = {"Linf": Linf, "L2": L2}
"""Threat models by norm, in RobustBench's spelling."""


def mistaken(threat: Threat, usual: Iterable[Threat]) -> str:
    """What a radius is that is, nearly, usual in another norm: "usual in Linf, in L2 it is 0.5"; else "".

    ``usual``: the threat models of a data set, of which the first of each norm counts. Nearly: 0.031 is 8/255.
    """
    first = {each.norm: each.eps for each in reversed([*usual])}
    near = [norm for norm, eps in first.items() if abs(threat.eps - eps) <= 0.02 * eps]
    if not near or threat.norm in near or threat.norm not in first:
        return ""
    return f"usual in {near[0]}, in {threat.norm} it is {first[threat.norm]}"
