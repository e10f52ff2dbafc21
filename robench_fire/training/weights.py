"""An update at perturbed weights: to where the loss is higher, and back again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap

from robench_fire.models.stacked import Stacked
from robench_fire.problem.adversarial_weights import WeightPerturbation
from robench_fire.training.state import State

Move = tuple[Tensor, Tensor]
Moves = list[Move]
"""Weights, and what was added to each."""


def moved_uphill(state: State, chosen: WeightPerturbation, loss: Callable[[], Tensor]) -> Moves:
    """Perturb the weights; ``loss`` is that of the update, whose gradient at the weights says where uphill is.

    The passes that it takes leave batch-norm statistics as they were (Wu et al. 2020 make them on a copy).
    """
    buffers = [each.clone() for each in state.model.buffers()]
    state.scaler.scale(loss()).backward()
    moves = moved(state.model, chosen, [weight.grad for _, weight in _named(state.model)], buffers)
    state.optimiser.zero_grad(set_to_none=True)
    return moves


@torch.no_grad()
def moved(
    model: nn.Module, chosen: WeightPerturbation, gradients: Sequence[Tensor | None], buffers: Sequence[Tensor]
) -> Moves:
    """Perturb the weights, given the gradient of the loss at each, and put back what the ``buffers`` were before it."""
    moves = list(_moves(model, chosen, gradients))
    for each, kept in zip(model.buffers(), buffers, strict=True):
        each.copy_(kept)
    for weight, offset in moves:
        weight.add_(offset)
    return moves


def move_back(moves: Sequence[Move]) -> None:
    """Undo ``moved_uphill``, after the optimiser's step from there."""
    with torch.no_grad():
        for weight, offset in moves:
            weight.sub_(offset)


def _moves(model: nn.Module, chosen: WeightPerturbation, gradients: Sequence[Tensor | None]) -> Iterator[Move]:
    """Of several seeds, each by its own norms."""
    for (name, weight), gradient in zip(_named(model), gradients, strict=True):
        if gradient is not None:
            of = partial(chosen.offset, name)
            yield weight, vmap(of)(weight, gradient) if isinstance(model, Stacked) else of(weight, gradient)


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    return list(model.named_weights() if isinstance(model, Stacked) else model.named_parameters())
