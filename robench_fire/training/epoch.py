"""One pass over the training batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from robench_fire.data.batches import batches
from robench_fire.devices.clock import Clock
from robench_fire.devices.device import wait
from robench_fire.devices.process_group import Agreement
from robench_fire.devices.random_streams import derive, generator
from robench_fire.errors import DivergedError
from robench_fire.training.out_of_memory import within_memory
from robench_fire.training.setup import Setup, Streams
from robench_fire.training.state import State
from robench_fire.training.step import step

Row = dict[str, float]


def train_epoch(
    state: State, setup: Setup, epoch: int, known_sizes: set[int], ticked: Callable[[int, float], None]
) -> list[Row]:
    """Train on every batch once; each seed's row: mean losses, highest learning rate, seconds.

    The only waits for the device are at the end and after the first batch of a size, which is the warm-up;
    ``known_sizes`` remembers these. ``ticked`` hears the number of batches done and images per second.

    Raises:
        Stopped: after a signal, between two steps, the same in all processes of a group.
        DivergedError: at the first non-finite loss, naming the step.
        RobenchError: if memory is short, naming a batch that fits.
    """
    clock, started, warm_up = Clock(setup.device), time.perf_counter(), state.seconds.get("warm_up", 0.0)
    orders = [_order(setup, one.seed, epoch) for one in state.seeds]
    with within_memory(state, setup), _random(setup, state.seeds[0].seed, epoch), _timed_convolutions(setup.device):
        sums, bad, rate = _steps(state, setup, epoch, orders, clock, known_sizes, ticked)
    if not setup.problem.recipe.schedule.per_update:
        state.schedule.step()
    _stop_if_diverged(state, setup, bad, epoch, len(orders[0]))
    means = {name: setup.group.total(value).div(len(orders[0])).tolist() for name, value in sums.items()}
    sections = clock.read()
    took = time.perf_counter() - started
    state.took({**sections, "train": took})
    own = (took - (state.seconds.get("warm_up", 0.0) - warm_up)) / len(state.seeds)
    return [
        {
            "epoch": epoch,
            "lr": rate,
            "loss": sum(values[number] for values in means.values()),
            **{f"loss_{name}": values[number] for name, values in means.items()},
            "seconds": own,
        }
        for number in range(len(state.seeds))
    ]


def _steps(
    state: State,
    setup: Setup,
    epoch: int,
    orders: Sequence[Sequence[Tensor]],
    clock: Clock,
    known_sizes: set[int],
    ticked: Callable[[int, float], None],
) -> tuple[dict[str, Tensor], Tensor, float]:
    """Per seed the sum of every term over the batches, and the first with a loss that is not finite; the top rate."""
    device, seeds, images, started = setup.device, state.seeds, 0, time.perf_counter()
    names = ("augmentation", "attack")
    streams = [Streams(*(generator(device, one.seed, name, epoch) for name in names)) for one in seeds]
    sums: dict[str, Tensor] = {}
    bad, rate = torch.full((len(seeds),), len(orders[0]), device=device), 0.0
    agreement = Agreement(setup.group, device)
    state.model.train()
    for number, index in enumerate(zip(*orders, strict=True)):
        agreement.check()
        size, begun = len(index[0]), time.perf_counter()
        new = size not in known_sizes
        share, rate = epoch / setup.problem.recipe.epochs, max(rate, float(state.schedule.get_last_lr()[0]))
        terms = step(state, setup, index, share, streams, Clock(device) if new else clock)
        if new:
            wait(device)
            known_sizes.add(size)
            state.took({"warm_up": time.perf_counter() - begun})
            state.warm_up_images += size
        for name, value in terms.items():
            sums[name] = sums[name] + value if name in sums else value
        finite = torch.stack(list(terms.values())).isfinite().all(0)
        bad = torch.where(finite, bad, bad.clamp_max(number))
        images += size * len(seeds)
        ticked(number + 1, images / (time.perf_counter() - started))
    return sums, bad, rate


def _order(setup: Setup, seed: int, epoch: int) -> list[Tensor]:
    recipe, labelled = setup.problem.recipe, len(setup.problem.train.labels)
    drawn = batches(recipe, labelled, len(setup.pool.labels) - labelled, generator("cpu", seed, "order", epoch))
    return [index.to(setup.device) for index in drawn]  # here, so that no step waits for a copy


@contextmanager
def _random(setup: Setup, seed: int, epoch: int) -> Iterator[None]:
    """torch's own generators, which only dropout uses: an epoch's stream in the body, the caller's afterwards."""
    with torch.random.fork_rng([setup.device] if setup.device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "dropout", epoch, *[setup.group.rank] * (setup.group.size > 1)))
        yield


@contextmanager
def _timed_convolutions(device: torch.device) -> Iterator[None]:
    """Let cuDNN time its algorithms for a batch's shape, in the warm-up, and use the fastest.

    Not where the caller wants the same bits from each run (torch.backends.cudnn.deterministic): timing may choose
    another algorithm, and with it another order of sums, each time.
    """
    kept = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda" and not torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = kept


def _stop_if_diverged(state: State, setup: Setup, bad: Tensor, epoch: int, steps: int) -> None:
    for one, first in zip(state.seeds, setup.group.least(bad).tolist(), strict=True):
        if first < steps:
            where = f"step {(epoch - 1) * steps + first + 1} (epoch {epoch}, batch {first + 1} of {steps})"
            whose = f" of seed {one.seed}" if len(state.seeds) > 1 else ""
            way_out = (
                "--precision bf16" if "fp16" in (setup.arithmetic.update, setup.arithmetic.attack) else "a lower --lr"
            )
            others = "; without --together the other seeds go on" if len(state.seeds) > 1 else ""
            raise DivergedError(f"the loss{whose} is not finite at {where}; try {way_out}{others}")
    if state.scaler.is_enabled() and state.scaler.get_scale() < 1:
        raise DivergedError(f"fp16 cannot hold the gradients of epoch {epoch}; use --precision bf16 or fp32")
