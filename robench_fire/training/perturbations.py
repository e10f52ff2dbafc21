"""The perturbations that replays keep from one update to the next, seed by seed."""

from __future__ import annotations

import torch
from torch import Tensor

from robench_fire.problem.pgd import Replay
from robench_fire.problem.recipe import Recipe
from robench_fire.training.setup import Setup
from robench_fire.training.state import State


def blank(recipe: Recipe, images: Tensor, device: torch.device) -> Tensor | None:
    """What a seed begins with: none of any of a batch's images; None for a recipe that keeps none."""
    if not isinstance(recipe.attack, Replay):
        return None
    return torch.zeros(recipe.batch_size, *images.shape[1:], device=device)


def read(state: State, drawn: Tensor) -> Tensor | None:
    """Of as many images as each seed's batch has, one seed's after another's."""
    own = [one.kept for one in state.seeds if one.kept is not None]
    if not own:
        return None
    return torch.cat([each[: len(drawn) // len(own)] for each in own])


def write(state: State, setup: Setup, kept: Tensor, grad: Tensor | None) -> None:
    """Keep what the update's ``grad`` at its images makes of ``kept``."""
    attack = setup.problem.recipe.attack
    assert isinstance(attack, Replay)
    assert grad is not None
    moved = attack.moved(kept, grad, setup.problem.threat)
    for one, part in zip(state.seeds, moved.chunk(len(state.seeds)), strict=True):
        assert one.kept is not None
        one.kept[: len(part)] = part
