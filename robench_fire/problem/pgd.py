"""Projected gradient descent, once. Geometry (threat), objective (gain) and start are arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from robench_fire.losses import cross_entropy
from robench_fire.problem.threat import FARTHEST, Threat
from robench_fire.quantity import Quantity

Forward = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [0, 1] to logits (N, K)."""
Gain = Callable[[Tensor], Tensor]
"""Logits of the perturbed images to the per-example value (N,) that the adversary maximises."""

Value = Callable[[Tensor], Tensor]
"""Perturbed images to the gain (N,) at them."""


def misclassify(label: Tensor) -> Gain:
    """The gain of an untargeted attack on classes ``label`` (N,): cross-entropy."""
    return lambda logits: cross_entropy(logits, one_hot(label, logits.shape[1]))


def margin(label: Tensor) -> Gain:
    """The gain of an untargeted attack: by how much the best other class beats ``label`` (N,), max_{j≠y} z_j - z_y.

    Carlini and Wagner 2017, their loss 6 without a bound on the confidence.
    """

    def gain(logits: Tensor) -> Tensor:
        own = label[:, None]
        others = logits.scatter(1, own, float("-inf")).amax(1)
        return others - logits.gather(1, own)[:, 0]

    return gain


@dataclass(frozen=True, kw_only=True)
class Pgd:
    """``steps`` steps of length ``step`` (in the threat's norm), each followed by a projection (Madry et al. 2018).

    ``start``: "uniform" samples the ball; "gaussian" adds 0.001 N(0, 1), as TRADES does, so that a divergence from the
    clean prediction has a gradient; "zero" starts at the image.
    """

    steps: int
    step: Quantity
    start: Literal["uniform", "gaussian", "zero"] = "gaussian"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps {self.steps}: an attack needs at least 1 step")
        if not 0 < self.step <= FARTHEST:
            raise ValueError(f"step {self.step}: a step must be positive, and at most {FARTHEST:,.0f}")

    def __call__(self, forward: Forward, gain: Gain, x: Tensor, threat: Threat, generator: Generator) -> Tensor:
        """Perturbed images; exactly ``steps`` forwards and ``steps`` input gradients. Never touches parameters."""
        return self.climb([lambda z: gain(forward(z))] * self.steps, x, self.begin(x, threat, generator), threat)

    def climb(self, values: Sequence[Value], x: Tensor, x_adv: Tensor, threat: Threat) -> Tensor:
        """Perturbed images after one step from ``x_adv`` on each of ``values``, the gain as a function of the image."""
        for value in values:
            x_adv = x_adv.detach().requires_grad_()
            with torch.enable_grad():
                (grad,) = torch.autograd.grad(value(x_adv).sum(), x_adv)
            x_adv = threat.project(threat.ascend(x_adv.detach(), grad, self.step), x)
        return x_adv

    def begin(self, x: Tensor, threat: Threat, generator: Generator) -> Tensor:
        """Where the search starts, by ``start``."""
        if self.start == "uniform":
            return threat.sample(x, generator)
        if self.start == "gaussian":
            return x + 0.001 * torch.empty_like(x).normal_(generator=generator)
        return x
