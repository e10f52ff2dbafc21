"""An update at perturbed weights: to where the loss is higher, and back again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.func import vmap

from robench_fire.models.stacked import Stacked
from robench_fire.problem.adversarial_weights import WeightPerturbation
from robench_fire.training.state import State

Moves = list[tuple[Tensor, Tensor]]
"""Weights, and what was added to each."""


def moved_uphill(state: State, chosen: WeightPerturbation, loss: Callable[[], Tensor]) -> Moves:
    """Perturb the weights; ``loss`` is that of the update, whose gradient at the weights says where uphill is.

    The passes that it takes leave batch-norm statistics as they were (Wu et al. 2020 make them on a copy).
    """
    buffers = [each.clone() for each in state.model.buffers()]
    state.scaler.scale(loss()).backward()
    with torch.no_grad():
        moves = list(_moves(state, chosen))
        for each, kept in zip(state.model.buffers(), buffers, strict=True):
            each.copy_(kept)
        for weight, offset in moves:
            weight.add_(offset)
    state.optimiser.zero_grad(set_to_none=True)
    return moves


def move_back(moves: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Undo ``moved_uphill``, after the optimiser's step from there."""
    with torch.no_grad():
        for weight, offset in moves:
            weight.sub_(offset)


def _moves(state: State, chosen: WeightPerturbation) -> Iterator[tuple[Tensor, Tensor]]:
    """Of several seeds, each by its own norms."""
    model = state.model
    for name, weight in model.named_weights() if isinstance(model, Stacked) else model.named_parameters():
        if weight.grad is not None:
            of = partial(chosen.offset, name)
            yield weight, vmap(of)(weight, weight.grad) if isinstance(model, Stacked) else of(weight, weight.grad)
