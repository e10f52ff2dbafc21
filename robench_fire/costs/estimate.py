"""What a recipe costs, before anything is spent."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from robench_fire.costs.work import work
from robench_fire.data.batches import batches_per_epoch
from robench_fire.devices.device import wait
from robench_fire.devices.precision import autocast, lay_out, layout, resolve, rounding
from robench_fire.problem.defense import Defense, Standard
from robench_fire.problem.recipe import Recipe
from robench_fire.runs.compose import Composed
from robench_fire.training import pseudo_labels
from robench_fire.training.setup import frozen


def forward_seconds(
    build: Callable[[], nn.Module], shape: tuple[int, int, int], recipe: Recipe, device: torch.device
) -> float:
    """Seconds per image and forward-equivalent, from a few attack steps on this machine: the best of five.

    In the attack's precision, on the recipe's batch, or on 4 images where these alone take long.

    Raises:
        RecipeError: if the device cannot compute in the recipe's precision.
    """
    model, chosen = build().to(device), resolve(recipe, device).attack
    lay_out(model, shape[-1])

    def attack_step(count: int) -> float:
        x = layout(shape[-1])(torch.rand(count, *shape, device=device)).requires_grad_()
        wait(device)
        started = time.perf_counter()
        with autocast(chosen, device):
            total = model(x).float().sum()
        torch.autograd.grad(total, x)
        wait(device)
        return time.perf_counter() - started

    with frozen(model), rounding(chosen):
        attack_step(4)  # the first call of a process pays for loading libraries
        count = 4 if attack_step(4) > 0.2 else recipe.batch_size
        try:
            attack_step(count)  # warms up
        except torch.OutOfMemoryError:
            count = 4
        return min(attack_step(count) for _ in range(5)) / (2 * count)


def images_per_epoch(recipe: Recipe, labelled: int) -> int:
    """How many images the batches of an epoch hold (robench_fire.data.batches), pseudo-labelled ones among them."""
    if recipe.extra is None:
        return labelled
    count, drawn = batches_per_epoch(recipe, labelled), int(recipe.batch_size * recipe.extra.share)
    return min(labelled, count * (recipe.batch_size - drawn)) + count * drawn


def training_seconds(defense: Defense, recipe: Recipe, examples: int, per_forward: float) -> float:
    """An estimate for one seed on ``examples`` labelled training images, without evaluation."""
    images = batches_per_epoch(recipe, examples) * recipe.batch_size * recipe.epochs
    return images * work(defense, recipe).forward_equivalents * per_forward


def estimate(composed: Composed, device: torch.device, per_forward: dict[str, float] | None = None) -> float:
    """Seconds to train one seed on ``device``, measured on a few images; ``per_forward`` remembers by architecture."""
    known = {} if per_forward is None else per_forward
    plan, dataset = composed.plan, composed.dataset
    if plan.recipe.arch not in known:
        known[plan.recipe.arch] = forward_seconds(composed.build, dataset.shape, plan.recipe, device)
    each, mixed = known[plan.recipe.arch], plan.recipe.extra
    if mixed is None or mixed.source == "file":
        return training_seconds(plan.defense, plan.recipe, dataset.train_size, each)
    labelled = round(dataset.train_size * (1 - mixed.hidden))
    labeller = training_seconds(Standard(), pseudo_labels.labeller_recipe(plan.recipe), labelled, each)
    return labeller + training_seconds(plan.defense, plan.recipe, labelled, each)
