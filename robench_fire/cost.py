"""What a recipe costs, before anything is spent."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robench_fire.data import batches_per_epoch
from robench_fire.defense import Defense
from robench_fire.engine import frozen
from robench_fire.recipe import Recipe, effective_passes


def forward_equivalents(defense: Defense, recipe: Recipe) -> int:
    """Cost of one update in forwards of the batch: an input gradient counts 1 more, a full backward 2 more."""
    attack = 0
    if recipe.attack is not None:
        attack = int(defense.clean_in_inner) + 2 * recipe.attack.steps
    passes = effective_passes(recipe, defense.clean_in_outer)
    return attack + len(passes) + 2 * len(set(passes))


def forward_seconds(
    build: Callable[[], nn.Module], shape: tuple[int, int, int], batch_size: int, device: torch.device
) -> float:
    """Seconds per image and forward-equivalent, from a few attack steps on this machine: the best of five.

    On the batch of ``batch_size``, or on 4 images where these alone take long.
    """
    model = build().to(device)
    with frozen(model):
        probe = torch.rand(4, *shape, device=device)
        _attack_step(model, probe)  # the first call of a process pays for loading libraries
        few = _attack_step(model, probe)
        count = 4 if few > 0.2 else batch_size
        x = torch.rand(count, *shape, device=device)
        _attack_step(model, x)  # warms up
        return min(_attack_step(model, x) for _ in range(5)) / (2 * count)


def _attack_step(model: nn.Module, x: Tensor) -> float:
    x.requires_grad_()
    started = time.perf_counter()
    torch.autograd.grad(model(x).sum(), x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - started


def training_seconds(defense: Defense, recipe: Recipe, examples: int, per_forward: float) -> float:
    """An estimate for one seed on ``examples`` labelled training images, without evaluation."""
    images = batches_per_epoch(recipe, examples) * recipe.batch_size * recipe.epochs
    return images * forward_equivalents(defense, recipe) * per_forward
