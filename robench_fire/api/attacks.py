"""Attacks on a model of one's own, as ``rb.attacks``: PGD with any threat model and objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robench_fire.api.inputs import given, threat_of
from robench_fire.api.speaking import called
from robench_fire.devices.random_streams import generator
from robench_fire.errors import UsageError, unknown
from robench_fire.problem.pgd import Gain, Pgd, margin, misclassify
from robench_fire.problem.threat import Threat
from robench_fire.quantity import Quantity

__all__ = ["Pgd", "margin", "misclassify", "pgd"]


def pgd(
    model: nn.Module | Callable[[Tensor], Tensor], x: Tensor, y: Tensor, threat: Threat, *, steps: int = 20,
    step: str | float | None = None, start: Literal["uniform", "gaussian", "zero"] = "uniform",
    gain: Callable[[Tensor], Gain] = misclassify, seed: int = 0, batch_size: int = 500,
) -> Tensor:  # fmt: skip
    """Perturbed images (N, C, H, W) in [0, 1] and in the threat model's ball (Madry et al. 2018).

    The model is called in eval mode and put back. With ``steps=1, start="zero"`` and ``step`` the radius this is FGSM
    (Goodfellow et al. 2015); ``gain=rb.attacks.margin`` is the loss of Carlini and Wagner 2017.

    Args:
        model: images to logits (N, classes).
        x: images (N, C, H, W), float32 in [0, 1].
        y: class numbers (N,), integers from 0.
        threat: ``rb.Linf("8/255")`` or ``rb.L2(0.5)``.
        steps: how many, each one forward and one gradient.
        step: length of a step, in the threat's norm; None: so that all steps together are two radii long.
        start: a random point of the ball, the image with noise of 0.001, or the image.
        gain: labels to what the adversary maximises, a function from logits to (N,).
        seed: of the start.
        batch_size: images attacked at a time.

    Raises:
        RobenchError: for images, labels or a model that cannot be attacked.
    """
    with called(), given(model, x, y) as own:
        eps = float(threat_of(threat).eps)
        if steps < 1 or batch_size < 1:
            raise UsageError(f"steps {steps}, batch_size {batch_size}: each must be at least 1")
        if not eps:
            return own.images
        search = _search(steps, 2 * eps / steps if step is None else step, start)
        draw = generator(own.images.device, seed, "pgd")
        parts = zip(own.images.split(batch_size), own.labels.split(batch_size), strict=True)
        return torch.cat([search(own.model, gain(label), part, threat, draw) for part, label in parts])


def _search(steps: int, step: str | float, start: Any) -> Pgd:
    if start not in ("uniform", "gaussian", "zero"):
        raise UsageError(unknown("start", start, ("uniform", "gaussian", "zero")))
    try:
        return Pgd(steps=steps, step=Quantity(step), start=start)
    except ValueError as fault:
        raise UsageError(str(fault)) from None
