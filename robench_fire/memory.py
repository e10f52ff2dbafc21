"""What to say when a batch does not fit into memory: one that does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from robench_fire.errors import RobenchError
from robench_fire.state import State
from robench_fire.step import Setup, frozen


@contextmanager
def within_memory(state: State, setup: Setup) -> Iterator[None]:
    """Turn running out of memory in the body into an error that names a batch that would fit.

    Raises:
        RobenchError: in place of torch's own error; what was saved stays.
    """
    short = ""
    try:
        yield
    except RuntimeError as fault:  # torch.OutOfMemoryError is one; a CPU's allocator raises it plainly
        if not _is_short_of_memory(fault):
            raise
        short = str(fault).split(". ")[0]
    if short:  # out of the handler, whose traceback would hold on to the batch's tensors
        raise RobenchError(_advice(state, setup))


def _is_short_of_memory(fault: RuntimeError) -> bool:
    return isinstance(fault, torch.OutOfMemoryError) or "not enough memory" in str(fault)


def _advice(state: State, setup: Setup) -> str:
    asked, world = setup.problem.recipe.batch_size, setup.world
    if world.size > 1:  # the others wait in the middle of a step: nothing can be tried
        each = f"{asked // world.size} on each {setup.device.type}"
        way_out = "use more processes or a smaller --batch-size (finished epochs are kept)"
        return f"out of memory with batches of {asked}, {each}; {way_out}"
    state.optimiser.zero_grad(set_to_none=True)
    size = asked // 2
    while size and not _fits(state, setup, size):
        size //= 2
    way_out = f"--batch-size {size} would fit" if size else "not even one image fits; use a smaller --arch"
    return f"out of memory with batches of {asked} on {setup.device.type}; {way_out} (finished epochs are kept)"


def _fits(state: State, setup: Setup, size: int) -> bool:
    """Whether attack and update of ``size`` images can be computed; the model's statistics are of no use afterwards."""
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
    shape, classes = setup.pool.images.shape[1:], setup.problem.num_classes
    try:
        x = setup.layout(torch.rand(size, *shape, device=setup.device))
        target = torch.full((size, classes), 1 / classes, device=setup.device)
        label = torch.zeros(size, dtype=torch.int64, device=setup.device)
        with frozen(state.model):
            clean = state.model(x) if setup.problem.defense.clean_in_inner else None
            setup.gain(x.requires_grad_(), clean, target, label).sum().backward()
        x = x.detach()
        sum(value.sum() for value in setup.passes(x, x).values()).backward()  # type: ignore[union-attr]
    except RuntimeError as fault:
        if not _is_short_of_memory(fault):
            raise
        return False
    finally:
        state.optimiser.zero_grad(set_to_none=True)
    return True
