"""Normalisation as a model's first layer, so that the threat model lives in pixel space; by name or by numbers."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

WAYS = "none, dataset, image, or MEAN:STD such as 0.4914,0.4822,0.4465:0.2471,0.2435,0.2616"


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


def layer(how: str, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module | None:
    """The layer that ``how`` names: None for "none"; "dataset" (``mean`` and ``std``), "image", or MEAN:STD as text.

    Raises:
        ValueError: for anything else.
    """
    if how in ("none", "image"):
        return StandardiseEachImage() if how == "image" else None
    return Standardise(*((mean, std) if how == "dataset" else statistics(how, len(mean))))


def statistics(text: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, a number per channel, of "0.5:0.25" or "0.49,0.48,0.45:0.25,0.24,0.26".

    Raises:
        ValueError: if that is not what the text says, or it is of pixels from 0 to 255.
    """
    number = r"\d+\.?\d*(?:e-?\d+)?|\.\d+"
    match = re.fullmatch(rf"((?:{number})(?:,(?:{number}))*):((?:{number})(?:,(?:{number}))*)", text.replace(" ", ""))
    if match is None:
        raise ValueError(f"{text!r} is none of {WAYS}")
    mean, std = (tuple(float(part) for part in side.split(",")) for side in match.groups())
    mean, std = (each * channels if len(each) == 1 else each for each in (mean, std))
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"{text!r} has {len(mean)} means and {len(std)} deviations; the images have {channels} channels"
        )
    if max(mean) > 1:
        scaled = ":".join(",".join(f"{value / 255:.4g}" for value in side) for side in (mean, std))
        raise ValueError(f"{text!r} is of pixels from 0 to 255, and images here are in [0, 1]: say {scaled}")
    if min(std) <= 0:
        raise ValueError(f"{text!r}: a standard deviation must be above 0")
    return mean, std
