"""Projected gradient descent, once, and replays, which need none. Threat, gain and start are arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from robench_fire.losses import cross_entropy
from robench_fire.problem.settings import OPTIONAL
from robench_fire.problem.threat import FARTHEST, Threat, scaled
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

    ``start``: "uniform" samples the ball; "bernoulli" moves each pixel up or down, to the ball's edge; "gaussian" adds
    0.001 N(0, 1), as TRADES does, so that a divergence from the clean prediction has a gradient; "zero" starts at the
    image. ``spread``: the first two start in a ball of so many radii; None: 1. ``within``: what a step is projected to;
    None: the ball and [0, 1]; "pixels": [0, 1] alone, so that training images lie outside the ball (N-FGSM).
    """

    times: ClassVar[int] = 1
    steps: int
    step: Quantity
    start: Literal["uniform", "bernoulli", "gaussian", "zero"] = "gaussian"
    spread: float | None = field(default=None, metadata=OPTIONAL)
    within: Literal["pixels"] | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps {self.steps}: an attack needs at least 1 step")
        if not 0 < self.step <= FARTHEST:
            raise ValueError(f"step {self.step}: a step must be positive, and at most {FARTHEST:,.0f}")
        if self.spread is not None and self.beside:
            raise ValueError(f"spread {self.spread}: a start of {self.start} has none; set start=uniform first")
        if self.spread is not None and not 0 < self.spread < float("inf"):
            raise ValueError(f"spread {self.spread}: so many radii, must be positive")

    @property
    def beside(self) -> bool:
        """Whether it starts so near the image that a divergence from the clean prediction is next to nothing."""
        return self.start in ("gaussian", "zero")

    def __call__(self, forward: Forward, gain: Gain, x: Tensor, threat: Threat, generator: Generator) -> Tensor:
        """Perturbed images; exactly ``steps`` forwards and ``steps`` input gradients. Never touches parameters."""
        return self.climb([lambda z: gain(forward(z))] * self.steps, x, self.begin(x, threat, generator), threat)

    def climb(self, values: Sequence[Value], x: Tensor, x_adv: Tensor, threat: Threat) -> Tensor:
        """Perturbed images after one step from ``x_adv`` on each of ``values``, the gain as a function of the image."""
        for value in values:
            x_adv = x_adv.detach().requires_grad_()
            with torch.enable_grad():
                (grad,) = torch.autograd.grad(value(x_adv).sum(), x_adv)
            moved = threat.ascend(x_adv.detach(), grad, self.step)
            x_adv = threat.project(moved, x) if self.within is None else moved.clamp(0, 1)
        return x_adv

    def begin(self, x: Tensor, threat: Threat, generator: Generator) -> Tensor:
        """Where the search starts, by ``start``."""
        ball = threat if self.spread is None else scaled(threat, self.spread)
        if self.start == "uniform":
            return ball.sample(x, generator)
        if self.start == "bernoulli":
            sides = torch.empty_like(x).uniform_(-1, 1, generator=generator)
            return ball.project(ball.ascend(x, sides.sign(), ball.eps), x)
        if self.start == "gaussian":
            return x + 0.001 * torch.empty_like(x).normal_(generator=generator)
        return x


@dataclass(frozen=True, kw_only=True)
class Replay:
    """No search: each batch is trained on ``times`` times, and every update moves the perturbation of the next one.

    The gradient of an update's loss at the perturbed images comes from the backward pass that the weights need anyway
    (free adversarial training, Shafahi et al. 2019). Image i of a batch is perturbed as image i of the batch before
    was left, at first not at all.
    """

    beside: ClassVar[bool] = False
    step: Quantity
    times: int = 8

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"times {self.times}: a batch is trained on at least once")
        if not self.step > 0:
            raise ValueError(f"step {self.step}: a step must be positive")

    @property
    def steps(self) -> int:
        """How many steps a perturbation takes on one batch."""
        return self.times

    def images(self, x: Tensor, kept: Tensor, threat: Threat) -> Tensor:
        """The images of an update, given the perturbation ``kept`` that the one before left."""
        return threat.project(x + kept, x)

    def moved(self, kept: Tensor, grad: Tensor, threat: Threat) -> Tensor:
        """The perturbation that an update leaves, given its loss's gradient at its images; its scale plays no part."""
        return threat.bounded(threat.ascend(kept, grad.nan_to_num(0, 0, 0), self.step))
