"""Batches of a data set that lives on the device as uint8; augmentation is batched tensor code there."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from robench_fire.problem.recipe import Augment, Recipe


def batches(recipe: Recipe, labelled: int, pseudo: int, generator: Generator) -> list[Tensor]:
    """One epoch's batches as indices into the ``labelled`` examples followed by the ``pseudo``-labelled ones.

    Without pseudo-labels: a permutation, cut up, the last batch being what is left. With them, each batch holds its
    share of pseudo-labelled images drawn with replacement and otherwise labelled ones from a fresh permutation, for as
    many batches as the labelled images alone would give (Carmon et al. 2019). Under ghost batch norm these are
    shuffled, so that each of its slices has both kinds, as in the released sampler; without it their order is nothing.
    """
    order = torch.randperm(labelled, generator=generator)
    if recipe.extra is None:
        return list(order.split(recipe.batch_size))
    drawn = int(recipe.batch_size * recipe.extra.share)
    kept = order.split(recipe.batch_size - drawn)[: batches_per_epoch(recipe, labelled)]
    mixed = [torch.cat([part, labelled + torch.randint(pseudo, (drawn,), generator=generator)]) for part in kept]
    if recipe.ghost_batch is None:
        return mixed
    return [batch[torch.randperm(len(batch), generator=generator)] for batch in mixed]


def batches_per_epoch(recipe: Recipe, labelled: int) -> int:
    """How many batches ``batches`` returns, with pseudo-labelled images or without."""
    return math.ceil(labelled / recipe.batch_size)


def to_float(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.float() / 255


def augmented(images: Tensor, augment: Augment, generator: Generator) -> Tensor:
    """Random views (N, C, H, W), float32 in [0, 1], of uint8 images; every choice is drawn per image."""
    x = _cropped(images, augment.pad, generator) if augment.pad else images
    if augment.flip:
        x = torch.where(_uniform(x, 0, 1, generator) < 0.5, x.flip(3), x)
    x = to_float(x)
    if augment.jitter:
        x = _jittered(x, augment.jitter, generator)
    return _rotated(x, augment.rotate, generator) if augment.rotate else x


def _uniform(x: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """(N, 1, 1, 1) draws."""
    return torch.empty(len(x), 1, 1, 1, device=x.device).uniform_(low, high, generator=generator)


def _cropped(images: Tensor, pad: int, generator: Generator) -> Tensor:
    n, c, h, w = images.shape
    padded = F.pad(images, (pad, pad, pad, pad))
    top, left = torch.randint(2 * pad + 1, (2, n, 1), generator=generator, device=images.device)
    rows = (top + torch.arange(h, device=images.device)).view(n, 1, h, 1)
    columns = (left + torch.arange(w, device=images.device)).view(n, 1, 1, w)
    image = torch.arange(n, device=images.device).view(n, 1, 1, 1)
    return padded[image, torch.arange(c, device=images.device).view(1, c, 1, 1), rows, columns]


def _jittered(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Brightness, contrast and saturation, each blended by a factor in [1 - strength, 1 + strength]."""

    def blend(other: Tensor) -> Tensor:
        factor = _uniform(x, 1 - strength, 1 + strength, generator)
        return (factor * x + (1 - factor) * other).clamp(0, 1)

    x = blend(torch.zeros_like(x))
    x = blend(_grey(x).mean((2, 3), keepdim=True))
    return blend(_grey(x))


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def _rotated(x: Tensor, degrees: float, generator: Generator) -> Tensor:
    """Rotation about the centre by up to ``degrees`` either way, nearest neighbour, zeros outside."""
    angle = _uniform(x, -math.radians(degrees), math.radians(degrees), generator).view(-1)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    tall = x.shape[2] / x.shape[3]  # the grid's sides are of one length, the image's need not be
    turn = torch.stack([torch.stack([cos, -sin * tall, zero], 1), torch.stack([sin / tall, cos, zero], 1)], 1)
    grid = F.affine_grid(turn, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="nearest", padding_mode="zeros", align_corners=False)
