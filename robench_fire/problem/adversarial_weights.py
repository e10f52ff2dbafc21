"""Perturbed weights: an update computed where the loss is higher than at the weights themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class WeightPerturbation(Protocol):
    """Where an update is computed, relative to the weights."""

    def active(self, progress: float) -> bool:
        """Whether weights are perturbed at ``progress`` = epoch / epochs."""

    def offset(self, name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        """What is added to one weight tensor, given the gradient of the loss there, up to a positive factor."""


@dataclass(frozen=True, kw_only=True)
class AdversarialWeights:
    """Adversarial weight perturbation: each kernel moves uphill by ``gamma`` of its own norm (Wu et al. 2020).

    v = gamma ‖w‖ g / ‖g‖ for every tensor that is called weight and has more than one dimension: batch norm and biases
    stay. ``start``: the share of the epochs from which on. g is the loss's gradient on the batch of the update.
    """

    gamma: float = 0.005
    start: float = 0.0

    def __post_init__(self) -> None:
        if not (self.gamma > 0 and self.gamma < float("inf")):
            raise ValueError(f"gamma {self.gamma}: must be positive; a defense without weights=... perturbs none")
        if not 0 <= self.start < 1:
            raise ValueError(f"start {self.start}: a share of the epochs, at least 0 and below 1")

    def active(self, progress: float) -> bool:
        """From ``start`` on."""
        return progress >= self.start

    def offset(self, name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        """Zero where the gradient vanishes or is not finite."""
        if weight.dim() < 2 or not name.rpartition(".")[2].endswith("weight"):
            return torch.zeros_like(weight)
        length = gradient.float().norm()
        usable = (length > 0) & length.isfinite()
        factor = torch.where(usable, self.gamma * weight.norm() / torch.where(usable, length, 1.0), 0.0)
        return torch.where(usable, factor * gradient, 0.0)
