"""Mixed images: each with another one of its batch, and both their targets (mixup, CutMix)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from robench_fire.problem.recipe import CutMix, Mixup


class Mixing(NamedTuple):
    """``partner`` (N,): with which image of the batch each is mixed. ``own`` (N, 1, H, W): what it keeps of itself."""

    partner: Tensor
    own: Tensor

    def images(self, x: Tensor) -> Tensor:
        """(N, C, H, W) mixed images."""
        return self.own * x + (1 - self.own) * x[self.partner]

    def targets(self, target: Tensor) -> Tensor:
        """(N, C) targets mixed by the share of the pixels that each image keeps."""
        share = self.own.mean((1, 2, 3))[:, None]
        return share * target + (1 - share) * target[self.partner]


def drawn(mix: Mixup | CutMix, x: Tensor, generator: Generator) -> Mixing:
    """How a batch (N, C, H, W) is mixed: one permutation, and one share for all its images, as in the papers.

    On the device, from a generator of its own, which timm's and torchvision's mixup do not offer.
    """
    n, _, height, width = x.shape
    partner = torch.randperm(n, generator=generator, device=x.device)
    # Beta(a, a) is X / (X + Y) of two gammas, which a small a makes too small for single precision; torch.distributions
    # takes no generator
    a = torch.full((2,), mix.alpha, device=x.device, dtype=torch.float64)
    gammas = torch._standard_gamma(a, generator=generator)
    share = (gammas[0] / gammas.sum()).float()
    if isinstance(mix, Mixup):
        return Mixing(partner, share.expand(n, 1, height, width))
    centre = torch.rand(2, generator=generator, device=x.device)
    inside = _inside(height, centre[0], share)[:, None] & _inside(width, centre[1], share)[None, :]
    return Mixing(partner, (~inside).float().expand(n, 1, height, width))


def _inside(length: int, centre: Tensor, share: Tensor) -> Tensor:
    """(length,) the pixels of a side that lie in a box of sqrt(1 - share) of it, cut at the border."""
    half = (1 - share).sqrt() * length / 2
    middle = centre * length
    at = torch.arange(length, device=centre.device) + 0.5
    return (at > middle - half) & (at < middle + half)
