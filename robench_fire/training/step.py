"""One update of one model, or of several side by side: attack, forward passes, memory, loss, optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from robench_fire.data import mixing
from robench_fire.data.batches import augmented, batches_per_epoch
from robench_fire.data.mixing import Mixing
from robench_fire.data.pool import picked
from robench_fire.devices.clock import Clock
from robench_fire.devices.precision import autocast, rounding
from robench_fire.problem.defense import Terms, Views
from robench_fire.problem.targets import recalled, smoothed
from robench_fire.training import perturbations
from robench_fire.training.attack import attacked
from robench_fire.training.setup import Problem, Setup, Streams, of_seed, per_example
from robench_fire.training.state import State
from robench_fire.training.weights import move_back, moved_uphill

Images = dict[str, Tensor]


def step(
    state: State, setup: Setup, index: Sequence[Tensor], progress: float, streams: Sequence[Streams], clock: Clock
) -> dict[str, Tensor]:
    """Train on one batch: ``index`` holds each seed's examples. Every term's mean over each seed's batch, (seeds,).

    ``index`` lies where the pool's images do, so that no copy waits for the device to say which. In a group of several
    processes all draw the same random numbers for the whole batch, take their part, and return their part of the means.
    Where a batch is trained on several times, the terms are those of the mean update.
    """
    places, index = index, [each.to(setup.device, non_blocking=True) for each in index]
    with clock.section("data"):
        drawn = _drawn(setup, places, index, streams)
    made = [_update(state, setup, index, drawn, progress, streams, clock) for _ in range(setup.problem.recipe.updates)]
    if len(made) == 1:
        return made[0]
    return {name: torch.stack([each[name] for each in made]).mean(0) for name in made[0]}


def _update(
    state: State, setup: Setup, index: Sequence[Tensor], drawn: _Drawn, progress: float, streams: Sequence[Streams],
    clock: Clock,
) -> dict[str, Tensor]:  # fmt: skip
    """One update on a batch."""
    chosen, kept = setup.problem.defense.weights, perturbations.read(state, drawn.images)
    with clock.section("attack"), rounding(setup.arithmetic.attack):
        label, target = setup.group.part(drawn.label), _targets(state, setup, index, drawn)
        share, turn = (torch.full((), value, device=setup.device) for value in (progress, _turn(state, setup)))
        seen = Views(
            None, target, target, label, share, recalled=_recalled(state, setup, index), turn=turn
        )  # no logits yet
        images, seen = attacked(state.model, setup, drawn.images, seen, [own.noise for own in streams], kept)
    with clock.section("update"), rounding(setup.arithmetic.update):
        uphill, smoothing = [], setup.problem.recipe.label_smoothing
        seen = seen._replace(target=smoothed(seen.target, smoothing))
        if chosen is not None and chosen.active(progress):
            uphill = moved_uphill(state, chosen, lambda: _sum(_terms(setup, index, passed(setup, images, seen))))
        if kept is not None:
            images["adv"].requires_grad_()
        seen = passed(setup, images, seen)
        _remember(state, setup, index, progress, seen)
        target = smoothed(_targets(state, setup, index, drawn), smoothing)
        terms = _terms(setup, index, seen._replace(target=target, recalled=_recalled(state, setup, index)))
        state.scaler.scale(_sum(terms) * setup.group.size).backward()  # the processes' gradients are averaged
    with clock.section("optimiser"):
        if kept is not None:
            perturbations.write(state, setup, kept, images["adv"].grad)
        state.scaler.step(state.optimiser)
        move_back(uphill)
        _finish(state, setup)
    return {name: value.detach() for name, value in terms.items()}


def _turn(state: State, setup: Setup) -> int:
    """The number of the batch, from 0 in the first epoch."""
    finished, images = len(state.seeds[0].curve), len(setup.problem.train.labels)
    return finished * batches_per_epoch(setup.problem.recipe, images) + state.epoch.done


class _Drawn(NamedTuple):
    """The augmented images of all seeds, one after another, their labels, and how each seed's are mixed, if so."""

    images: Tensor
    label: Tensor
    mixed: tuple[Mixing, ...]


def _drawn(setup: Setup, places: Sequence[Tensor], index: Sequence[Tensor], streams: Sequence[Streams]) -> _Drawn:
    """``places``: the index where the pool's images lie."""
    pool, augment = setup.pool, setup.problem.recipe.augment
    label = torch.cat([pool.labels[each] for each in index])
    chosen = [picked(pool.images, each, setup.device) for each in places]
    drawn = [augmented(each, augment, own.views) for each, own in zip(chosen, streams, strict=True)]
    if augment.mix is None:
        return _Drawn(setup.layout(torch.cat(drawn)), label, ())
    ways = tuple(mixing.drawn(augment.mix, each, own.views) for each, own in zip(drawn, streams, strict=True))
    mixed = [way.images(each) for way, each in zip(ways, drawn, strict=True)]
    return _Drawn(setup.layout(torch.cat(mixed)), label, ways)


def _targets(state: State, setup: Setup, index: Sequence[Tensor], drawn: _Drawn) -> Tensor:
    """This process's part of the targets of all seeds."""
    read = setup.problem.defense.targets.read
    own = [read(one.memory, each) for one, each in zip(state.seeds, index, strict=True)]
    if drawn.mixed:
        own = [way.targets(each) for way, each in zip(drawn.mixed, own, strict=True)]
    return setup.group.part(torch.cat(own))


def _recalled(state: State, setup: Setup, index: Sequence[Tensor]) -> dict[str, Tensor]:
    """This process's part of what the targets of all seeds remember besides."""
    chosen, pairs = setup.problem.defense.targets, zip(state.seeds, index, strict=True)
    own = [recalled(chosen, one.memory, each) for one, each in pairs]
    return {name: setup.group.part(torch.cat([each[name] for each in own])) for name in own[0]}


def passed(setup: Setup, images: Images, seen: Views) -> Views:
    """What the loss sees after the train-mode passes: logits, features, gradients with respect to images."""
    defense = setup.problem.defense
    images = {
        name: each if each.requires_grad else each.detach().requires_grad_(name in defense.gradients_at)
        for name, each in images.items()
    }
    if setup.problem.recipe.attack is None:  # x' is x, and one pass is made
        images["clean"] = images["adv"] = images["clean"].requires_grad_(bool(defense.gradients_at))
    with autocast(setup.arithmetic.update, setup.device):
        logits, features = setup.passes(images)
    logits = {name: value.float() for name, value in logits.items()}
    clean = logits.pop("clean", None)
    adv = logits.pop("adv", clean)
    assert adv is not None
    wide = {name: value.float() for name, value in features.items()}
    if wide and "adv" not in wide:
        wide["adv"] = wide["clean"]
    seen = seen._replace(clean=clean, adv=adv, more=logits, features=wide)
    if defense.gradients_at:
        slope = per_example(defense.slope(seen), seen.label, "slope").sum()
        names = defense.gradients_at
        found = torch.autograd.grad(slope, [images[name] for name in names], create_graph=True)
        seen = seen._replace(gradients={name: each.flatten(1) for name, each in zip(names, found, strict=True)})
    return seen


def _remember(state: State, setup: Setup, index: Sequence[Tensor], progress: float, seen: Views) -> None:
    """Let each seed's targets see the logits of its whole batch."""
    logits = seen.clean if seen.clean is not None else seen.adv
    whole = setup.group.gathered(logits.detach(), sum(map(len, index)))
    for one, each, own in zip(state.seeds, index, whole.chunk(len(index)), strict=True):
        one.memory = setup.problem.defense.targets.update(one.memory, each, own, progress)


def _terms(setup: Setup, index: Sequence[Tensor], seen: Views) -> dict[str, Tensor]:
    """This process's share of every term's mean over each seed's batch, (seeds,)."""
    defense, seeds, rows = setup.problem.defense, len(index), sum(map(len, index))
    share = seeds / (rows * setup.group.copies(rows))
    terms = {
        name: per_example(value, seen.label, f"outer's {name!r}").view(seeds, -1).sum(1) * share
        for name, value in defense.outer(seen).items()
    }
    if not defense.has_batch_terms:
        return terms
    own: list[Terms] = [defense.over_batch(of_seed(seen, seeds, number)) for number in range(seeds)]
    return terms | {name: torch.stack([each[name] for each in own]) for name in own[0]}


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def _finish(state: State, setup: Setup) -> None:
    state.scaler.update()
    state.optimiser.zero_grad(set_to_none=True)
    if setup.problem.recipe.schedule.per_update:  # also where the scaler skipped: the last batch ends the triangle
        state.schedule.step()
    if state.average:
        state.average.decay = _decay(state, setup.problem)  # type: ignore[assignment]
        state.average.update(state.model)  # type: ignore[operator]


def _decay(state: State, problem: Problem) -> float:
    """How much of the moving average this update leaves; all updates on one batch leave as much as its first."""
    recipe = problem.recipe
    assert recipe.ema_decay is not None
    if not recipe.ema_warm_up:
        return recipe.ema_decay
    batches = len(state.seeds[0].curve) * batches_per_epoch(recipe, len(problem.train.labels)) + state.epoch.done
    before = batches * recipe.updates
    return min(recipe.ema_decay, (2 + before) / (11 + before))
