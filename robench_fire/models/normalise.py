"""Normalisation as a model's first layer, so that the threat model lives in pixel space."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """(x - mean) / std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class StandardiseEachImage(nn.Module):
    """Zero mean and unit variance per image, the deviation bounded below by 1/√(number of values)."""

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        mean = values.mean(1).view(-1, 1, 1, 1)
        std = values.var(1, correction=0).clamp_min(1 / values.shape[1]).sqrt().view(-1, 1, 1, 1)
        return (x - mean) / std
