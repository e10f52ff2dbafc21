"""One pass over the training batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from robench_fire import stopping
from robench_fire.data.batches import batches
from robench_fire.devices.clock import Clock
from robench_fire.devices.device import wait
from robench_fire.devices.process_group import Agreement
from robench_fire.devices.random_streams import derive, generator
from robench_fire.errors import DivergedError
from robench_fire.training.out_of_memory import within_memory
from robench_fire.training.saving import NEVER, Saves
from robench_fire.training.setup import Setup, Streams
from robench_fire.training.state import Part, State, UnderWay
from robench_fire.training.step import step

Row = dict[str, float]


def train_epoch(
    state: State,
    setup: Setup,
    epoch: int,
    known_sizes: set[int],
    ticked: Callable[[int, float], None],
    saves: Saves = NEVER,
) -> list[Row]:
    """Train on every batch once, or on those that are left; each seed's row: mean losses, highest rate, seconds.

    The only waits for the device are at the end, after the first batch of a size, which is the warm-up, and where the
    state is saved; ``known_sizes`` remembers the sizes. ``ticked`` hears the number of batches done and images per
    second.

    Raises:
        Stopped: after a signal, between two steps, the same in all processes of a group; the state is saved.
        DivergedError: at the first non-finite loss, naming the step.
        RobenchError: if memory is short, naming a batch that fits.
    """
    orders = [_order(setup, one.seed, epoch) for one in state.seeds]
    steps = len(orders[0])
    with within_memory(state, setup), _random(setup, state.seeds[0].seed, epoch), _timed_convolutions(setup.device):
        sums, bad, _ = _steps(state, setup, epoch, orders, known_sizes, ticked, saves)
    whole, state.epoch = state.epoch, UnderWay()
    if not setup.problem.recipe.schedule.per_update:
        state.schedule.step()
    _stop_if_diverged(state, setup, bad, epoch, steps)
    means = {name: setup.group.total(value).div(steps).tolist() for name, value in sums.items()}
    return [
        {
            "epoch": epoch,
            "lr": whole.rate,
            "loss": sum(values[number] for values in means.values()),
            **{f"loss_{name}": values[number] for name, values in means.items()},
            "seconds": whole.seconds / len(state.seeds),
        }
        for number in range(len(state.seeds))
    ]


def _steps(
    state: State,
    setup: Setup,
    epoch: int,
    orders: Sequence[Sequence[Tensor]],
    known_sizes: set[int],
    ticked: Callable[[int, float], None],
    saves: Saves,
) -> Part:
    """Make the steps that are left of an epoch; what this process's share of all of them came to."""
    device, seeds, images, started = setup.device, state.seeds, 0, time.perf_counter()
    names = ("augmentation", "attack")
    streams = [Streams(*(generator(device, one.seed, name, epoch) for name in names)) for one in seeds]
    so_far, session = state.epoch, _Session(state, setup, streams)
    sums, bad = session.begun(torch.full((len(seeds),), len(orders[0]), device=device))
    agreement = Agreement(setup.group, device)
    state.model.train()
    for number, index in enumerate(zip(*orders, strict=True)):
        if number < so_far.done:
            continue
        try:
            due = agreement.check(saves.due())
        except stopping.Stopped:
            session.save(saves, sums, bad, epoch, len(orders[0]))
            raise
        if due:
            session.save(saves, sums, bad, epoch, len(orders[0]))
        so_far.rate = max(so_far.rate, float(state.schedule.get_last_lr()[0]))
        terms = session.step(index, epoch, known_sizes)
        for name, value in terms.items():
            sums[name] = sums[name] + value if name in sums else value
        finite = torch.stack(list(terms.values())).isfinite().all(0)
        bad, so_far.done = torch.where(finite, bad, bad.clamp_max(number)), number + 1
        images += sum(map(len, index))
        ticked(number + 1, images / (time.perf_counter() - started))
    session.charge()
    return Part(sums, bad, [])


class _Session:
    """The steps of an epoch that this process makes: what they take, and saving between two of them."""

    def __init__(self, state: State, setup: Setup, streams: Sequence[Streams]) -> None:
        self.state, self.setup, self.streams = state, setup, streams
        self.clock, self._since, self._warm = Clock(setup.device), time.perf_counter(), 0.0

    def step(self, index: Sequence[Tensor], epoch: int, known_sizes: set[int]) -> dict[str, Tensor]:
        """Train on one batch; the first one of a size is the warm-up, after which the device is waited for."""
        size, began = len(index[0]), time.perf_counter()
        new, share = size not in known_sizes, epoch / self.setup.problem.recipe.epochs
        clock = Clock(self.setup.device) if new else self.clock
        terms = step(self.state, self.setup, index, share, self.streams, clock)
        if new:
            wait(self.setup.device)
            known_sizes.add(size)
            took = time.perf_counter() - began
            self.state.took({"warm_up": took})
            self.state.warm_up_images += size
            self._warm += took
        return terms

    def charge(self) -> None:
        """Add the seconds since the last time to the epoch's and to the training's; waits for the device."""
        sections, now = self.clock.read(), time.perf_counter()
        took, self._since = now - self._since, now
        self.state.took({**sections, "train": took})
        self.state.epoch.seconds += took - self._warm
        self.clock, self._warm = Clock(self.setup.device), 0.0

    def save(self, saves: Saves, sums: dict[str, Tensor], bad: Tensor, epoch: int, steps: int) -> None:
        """Note what all processes have, and let the first one write it.

        Raises:
            DivergedError: instead, if a loss was not finite: what was saved before is worth more.
        """
        if not self.state.epoch.done:  # what was there after the last epoch still is
            return
        _stop_if_diverged(self.state, self.setup, bad.clone(), epoch, steps)
        self.charge()
        random = [torch.get_rng_state()]
        if self.setup.device.type == "cuda":
            random.append(torch.cuda.get_rng_state(self.setup.device))
        own = Part({name: value.cpu() for name, value in sums.items()}, bad.cpu(), random)
        self.state.epoch.streams = [[each.get_state() for each in seed] for seed in self.streams]
        self.state.epoch.parts = self.setup.group.collected(own)
        saves.save()

    def begun(self, none: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Sums and first bad step so far, ``none`` if there are none; every stream goes on from where it was.

        Those of dropout do only among as many processes as there were; on another kind of device, whose streams have
        other states, those of the epoch begin anew.
        """
        so_far = self.state.epoch
        if not so_far.done:
            return {}, none
        for seed, states in zip(self.streams, so_far.streams, strict=True):
            for each, kept in zip(seed, states, strict=True):
                if kept.shape == each.get_state().shape:
                    each.set_state(kept.cpu())
        sums, bad, random = so_far.part(self.setup.group, self.setup.device)
        generators = [torch.set_rng_state, *[torch.cuda.set_rng_state] * (self.setup.device.type == "cuda")]
        for put, kept in zip(generators, random, strict=False):
            put(kept.cpu())
        return sums, bad


def _order(setup: Setup, seed: int, epoch: int) -> list[Tensor]:
    recipe, labelled = setup.problem.recipe, len(setup.problem.train.labels)
    drawn = batches(recipe, labelled, len(setup.pool.labels) - labelled, generator("cpu", seed, "order", epoch))
    return [index.to(setup.pool.images.device) for index in drawn]  # here, so that no step waits for a copy


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
