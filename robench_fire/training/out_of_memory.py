"""What to say when a batch does not fit into memory: one that does."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from robench_fire.devices.clock import Clock
from robench_fire.errors import RobenchError
from robench_fire.training.setup import Passes, Setup, Streams, gains_of
from robench_fire.training.state import State
from robench_fire.training.step import step

SHORT = ("not enough memory", "can't allocate memory", "ALLOC_FAILED", "unable to find an engine")
"""What errors say, in torch's CPU allocator, cuBLAS, cuDNN and its search for algorithms, where memory is short."""


@contextmanager
def within_memory(state: State, setup: Setup) -> Iterator[None]:
    """Turn running out of memory in the body into an error that names a batch that would fit.

    Raises:
        RobenchError: in place of torch's own error; what was saved stays.
    """
    try:
        yield
    except RuntimeError as fault:  # torch.OutOfMemoryError is one
        if not _is_short_of_memory(fault):
            raise
        traceback.clear_frames(fault.__traceback__)  # they hold on to the batch's tensors
        raise RobenchError(_advice(state, setup)) from None


def _is_short_of_memory(fault: RuntimeError) -> bool:
    return isinstance(fault, torch.OutOfMemoryError) or any(text in str(fault) for text in SHORT)


def _advice(state: State, setup: Setup) -> str:
    asked, group = setup.problem.recipe.batch_size, setup.group
    if group.size > 1:  # the others wait in the middle of a step: nothing can be tried
        each = f"{asked // group.size} on each {setup.device.type}"
        way_out = "use more processes or a smaller --batch-size (finished epochs are kept)"
        return f"out of memory with batches of {asked}, {each}; {way_out}"
    size = asked // 2
    while size and not _fits(state, setup, size):
        size //= 2
    way_out = f"--batch-size {size} would fit" if size else "not even one image fits; use a smaller --arch"
    return f"out of memory with batches of {asked} on {setup.device.type}; {way_out} (finished epochs are kept)"


def _fits(state: State, setup: Setup, size: int) -> bool:
    """Whether a step on ``size`` images of each seed can be made; the state is of no use afterwards.

    Not compiled, which would take minutes for each size, and needs no less memory.
    """
    state.optimiser.zero_grad(set_to_none=True)
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
    defense, recipe = setup.problem.defense, setup.problem.recipe
    plain = replace(setup, passes=Passes(state.model, recipe, defense), gains=gains_of(state.model, defense))
    index = torch.zeros(size, dtype=torch.int64, device=setup.device)
    streams = [Streams(*(torch.Generator(setup.device) for _ in Streams._fields)) for _ in state.seeds]
    try:
        step(state, plain, [index] * len(state.seeds), 1.0, streams, Clock(setup.device))
    except RuntimeError as fault:
        if not _is_short_of_memory(fault):
            raise
        traceback.clear_frames(fault.__traceback__)
        return False
    return True
