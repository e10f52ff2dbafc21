"""One update of one model, or of several side by side: attack, forward passes, memory, loss, optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from robench_fire.data.batches import augmented
from robench_fire.devices.clock import Clock
from robench_fire.devices.precision import GAIN_SCALE, Arithmetic, Format, autocast, rounding
from robench_fire.devices.process_group import ProcessGroup
from robench_fire.errors import RecipeError
from robench_fire.problem.dataset import Split
from robench_fire.problem.defense import Defense, Views
from robench_fire.problem.recipe import Pass, Recipe
from robench_fire.problem.threat import Threat
from robench_fire.training.state import State


@dataclass(frozen=True)
class Problem:
    """What is trained on what: the arguments that every part of the loop reads."""

    defense: Defense
    threat: Threat
    recipe: Recipe
    train: Split
    validation: Split
    num_classes: int
    extra: Split | None = None


@dataclass(frozen=True)
class Setup:
    """How a problem is computed: everything that a step needs and does not change.

    ``passes``: (clean images, perturbed images) to the logits of the recipe's train-mode passes, with the gradient
    averaged over the group. ``gain``: (perturbed images, clean logits, targets, labels) to the attack's gain (N,).
    """

    problem: Problem
    pool: Split
    device: torch.device
    arithmetic: Arithmetic
    layout: Callable[[Tensor], Tensor]
    group: ProcessGroup
    passes: Callable[[Tensor, Tensor], dict[str, Tensor]]
    gain: Callable[[Tensor, Tensor | None, Tensor, Tensor], Tensor]


class Streams(NamedTuple):
    """One seed's random streams: augmentation's and the attack's."""

    views: Generator
    noise: Generator


@contextmanager
def frozen(model: nn.Module, mode: str = "eval") -> Iterator[None]:
    """Put every module into ``mode`` and stop parameter gradients; restore both, per module, whatever happens."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.train(mode == "train")
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


class Passes(nn.Module):
    """The train-mode passes of one update in one forward, so that DistributedDataParallel and the compiler see one.

    All but the last of a repeated pass only move batch-norm statistics.
    """

    def __init__(self, model: nn.Module, names: Sequence[Pass]) -> None:
        super().__init__()
        self.model, self._names = model, tuple(names)

    def forward(self, x: Tensor, x_adv: Tensor) -> dict[str, Tensor]:
        inputs = {"clean": x, "adv": x_adv}
        logits: dict[str, Tensor] = {}
        for position, name in enumerate(self._names):
            with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self._names[position + 1 :]):
                logits[name] = self.model(inputs[name])
        return logits


def gain_of(model: nn.Module, defense: Defense) -> Callable[[Tensor, Tensor | None, Tensor, Tensor], Tensor]:
    """The defense's inner objective as a function of the perturbed images: forward and gain, for one compilation."""

    def gain(x_adv: Tensor, clean: Tensor | None, target: Tensor, label: Tensor) -> Tensor:
        logits = model(x_adv).float()
        with torch.autocast(x_adv.device.type, enabled=False):
            return _per_example(defense.inner(Views(clean, logits, target, label)), label, "inner")

    return gain


def step(
    state: State, setup: Setup, index: Sequence[Tensor], progress: float, streams: Sequence[Streams], clock: Clock
) -> dict[str, Tensor]:
    """Train on one batch: ``index`` holds each seed's examples. Every term's mean over each seed's batch, (seeds,).

    In a group of several processes all draw the same random numbers for the whole batch, take their part, and return
    their part of the means.
    """
    with clock.section("data"):
        x, label = _drawn(setup, index, streams)
    with clock.section("attack"), rounding(setup.arithmetic.attack):
        x_adv = _attacked(state, setup, index, x, label, streams)
    x, label = setup.group.part(x), setup.group.part(label)
    with clock.section("update"), rounding(setup.arithmetic.update):
        terms = _terms(state, setup, index, progress, x, x_adv, label)
        loss = torch.stack(list(terms.values())).sum() * setup.group.size  # whose processes' gradients are averaged
        state.scaler.scale(loss).backward()
    with clock.section("optimiser"):
        state.scaler.step(state.optimiser)
        state.scaler.update()
        state.optimiser.zero_grad(set_to_none=True)
        if setup.problem.recipe.schedule.per_update:  # also where the scaler skipped: the last batch ends the triangle
            state.schedule.step()
        if state.average:
            state.average.update(state.model)  # type: ignore[operator]
    return {name: value.detach() for name, value in terms.items()}


def _drawn(setup: Setup, index: Sequence[Tensor], streams: Sequence[Streams]) -> tuple[Tensor, Tensor]:
    """The augmented images of all seeds, one after another, and their labels."""
    pool, augment = setup.pool, setup.problem.recipe.augment
    drawn = [augmented(pool.images[each], augment, own.views) for each, own in zip(index, streams, strict=True)]
    return setup.layout(torch.cat(drawn)), torch.cat([pool.labels[each] for each in index])


def _attacked(
    state: State, setup: Setup, index: Sequence[Tensor], x: Tensor, label: Tensor, streams: Sequence[Streams]
) -> Tensor:
    """The inner maximisation over this process's part; clean logits are computed once, where the defense reads them.

    Without an attack: the images themselves.
    """
    problem, part, formats = setup.problem, setup.group.part, setup.arithmetic
    attack, defense = problem.recipe.attack, problem.defense
    if attack is None:
        return part(x)
    begun = [
        attack.begin(each, problem.threat, own.noise) for each, own in zip(x.chunk(len(streams)), streams, strict=True)
    ]
    begin, x, label = setup.layout(part(torch.cat(begun))), part(x), part(label)
    target = part(_targets(state, setup, index))
    finite: list[Tensor] = []
    with frozen(state.model, problem.recipe.attack_mode):
        clean = None
        if defense.clean_in_inner:
            with torch.no_grad(), autocast(formats.first, setup.device):
                clean = state.model(x).float()

        def value(chosen: Format) -> Callable[[Tensor], Tensor]:
            def gain(z: Tensor) -> Tensor:
                with autocast(chosen, setup.device):
                    found = setup.gain(z, clean, target, label)
                if chosen != "fp16":
                    return found
                z.register_hook(lambda grad: finite.append(grad.isfinite().all()))
                return found * GAIN_SCALE

            return gain

        rest = [value(formats.attack)] * (attack.steps - 1)
        x_adv = attack.climb([value(formats.first), *rest], x, begin, problem.threat)
    if finite:  # the sign of a NaN is 0: without this a gradient beyond fp16's range would be a step not taken
        x_adv = torch.where(torch.stack(finite).all(), x_adv, torch.full_like(x_adv, torch.nan))
    return x_adv


def _targets(state: State, setup: Setup, index: Sequence[Tensor]) -> Tensor:
    read = setup.problem.defense.targets.read
    return torch.cat([read(one.memory, each) for one, each in zip(state.seeds, index, strict=True)])


def _terms(
    state: State, setup: Setup, index: Sequence[Tensor], progress: float, x: Tensor, x_adv: Tensor, label: Tensor
) -> dict[str, Tensor]:
    """Passes, memory, loss: this process's share of every term's mean over each seed's batch, (seeds,)."""
    defense, seeds = setup.problem.defense, state.seeds
    with autocast(setup.arithmetic.update, setup.device):
        logits = {name: value.float() for name, value in setup.passes(x, x_adv).items()}
    clean = logits.get("clean")
    adv = logits["adv"] if "adv" in logits else logits["clean"]  # without an attack x' is x
    rows = sum(map(len, index))
    share = len(seeds) / (rows * setup.group.copies(rows))
    seen = setup.group.gathered((clean if clean is not None else adv).detach(), rows)
    for one, each, own in zip(seeds, index, seen.chunk(len(seeds)), strict=True):
        one.memory = defense.targets.update(one.memory, each, own, progress)
    terms = defense.outer(Views(clean, adv, setup.group.part(_targets(state, setup, index)), label))
    return {
        name: _per_example(value, label, f"outer's {name!r}").view(len(seeds), -1).sum(1) * share
        for name, value in terms.items()
    }


def _per_example(value: Tensor, label: Tensor, what: str) -> Tensor:
    if value.shape != label.shape:
        raise RecipeError(f"{what} has shape {tuple(value.shape)}; a defense returns one value per example, (N,)")
    return value
