"""The one training loop: the only owner of mode, optimiser, randomness and gradient flags."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from robench_fire.attacks import misclassify
from robench_fire.data import augmented, batches, batches_per_epoch, to_float
from robench_fire.dataset import Split
from robench_fire.defense import Defense, Views
from robench_fire.errors import DivergedError, RecipeError
from robench_fire.recipe import Pass, Recipe, effective_passes
from robench_fire.reporting import Progress, silent
from robench_fire.seeding import derive, generator
from robench_fire.state import State, fresh, read
from robench_fire.threat import Threat
from robench_fire.timing import Clock


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


@dataclass
class Trained:
    """The weights to evaluate, the curve (one row per epoch) and seconds per section."""

    weights: dict[str, Tensor]
    curve: list[dict[str, float]]
    seconds: dict[str, float]


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


def initialised(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A model whose initial weights depend on ``seed`` alone; the caller's generators are left as they were."""
    with torch.random.fork_rng([]):  # models are built on the CPU
        torch.default_generator.manual_seed(derive(seed, "init"))
        return build()


def train(
    build: Callable[[], nn.Module],
    problem: Problem,
    *,
    seed: int,
    device: torch.device,
    state_file: Path | None = None,
    progress: Progress = silent,
    epoch_done: Callable[[list[dict[str, float]]], None] = lambda curve: None,
) -> Trained:
    """Train a fresh model; continues from ``state_file`` if it exists, and writes it after every epoch.

    Raises:
        DivergedError: at the first non-finite loss, naming the step.
        DataError: if ``state_file`` cannot be read.
    """
    recipe, pool = problem.recipe, problem.train
    if problem.extra is not None:
        pool = Split(*(torch.cat(pair) for pair in zip(pool, problem.extra, strict=True)))
    pool, validation = pool.to(device), problem.validation.to(device)
    memory = problem.defense.targets.init(pool.labels, problem.num_classes)
    state = fresh(initialised(build, seed).to(device), recipe, memory)
    if state_file is not None and state_file.exists():
        state.restore(read(state_file, device))
    steps = batches_per_epoch(recipe, len(problem.train.labels))
    for epoch in range(len(state.curve) + 1, recipe.epochs + 1):
        note = _note(state.curve)
        ticked = partial(_tick, progress, (epoch - 1) * steps, recipe.epochs * steps, note)
        row = _epoch(state, problem, pool, epoch, seed, ticked)
        row |= _validate(state, problem, validation, epoch, seed)
        if recipe.select == "validation" and _score(row) >= max(map(_score, state.curve), default=0.0):
            state.best = {name: value.clone() for name, value in state.evaluated().state_dict().items()}
        state.curve.append(row)
        if state_file is not None:
            state.write(state_file)
        epoch_done(state.curve)
    weights = state.best or state.evaluated().state_dict()
    return Trained({name: value.detach().cpu() for name, value in weights.items()}, state.curve, state.seconds)


def _score(row: dict[str, float]) -> float:
    return row.get("robust", row["clean"])


def _tick(progress: Progress, before: int, total: int, note: str, done: int) -> None:
    progress(before + done, total, note)


def _note(curve: list[dict[str, float]]) -> str:
    if not curve:
        return ""
    last = curve[-1]
    robust = f", robust {last['robust']:.1f}" if "robust" in last else ""
    return f"epoch {len(curve)}: loss {last['loss']:.3f}, validation clean {last['clean']:.1f}{robust}"


def _epoch(
    state: State, problem: Problem, pool: Split, epoch: int, seed: int, ticked: Callable[[int], None]
) -> dict[str, float]:
    """One pass over the batches; the only wait for the device is at its end."""
    recipe, device, clock = problem.recipe, pool.images.device, Clock(pool.images.device)
    started = time.perf_counter()
    order = batches(
        recipe, len(problem.train.labels), len(pool.labels) - len(problem.train.labels),
        generator("cpu", seed, "order", epoch),
    )  # fmt: skip
    order = [index.to(device) for index in order]  # here, so that no step waits for a copy
    views, noise = generator(device, seed, "augmentation", epoch), generator(device, seed, "attack", epoch)
    sums: dict[str, Tensor] = {}
    bad = torch.full((), -1, device=device)
    state.model.train()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "dropout", epoch))
        for step, index in enumerate(order):
            with clock.section("data"):
                x = augmented(pool.images[index], recipe.augment, views)
            terms = _step(state, problem, x, index, pool.labels[index], epoch / recipe.epochs, noise, clock)
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value
            finite = torch.stack(list(terms.values())).isfinite().all()
            bad = torch.where(finite | (bad >= 0), bad, torch.full_like(bad, step))
            ticked(step + 1)
    rate = float(state.schedule.get_last_lr()[0])
    state.schedule.step()
    if (first := int(bad)) >= 0:
        where = f"step {(epoch - 1) * len(order) + first + 1} (epoch {epoch}, batch {first + 1} of {len(order)})"
        raise DivergedError(f"the loss is not finite at {where}; try a lower --lr")
    means: dict[str, float] = {f"loss_{name}": float(value) / len(order) for name, value in sums.items()}
    seconds = {**clock.read(), "train": time.perf_counter() - started}
    state.seconds = {name: state.seconds.get(name, 0.0) + value for name, value in seconds.items()}
    return {"epoch": epoch, "lr": rate, "loss": float(sum(means.values())), **means, "seconds": seconds["train"]}


def _step(
    state: State,
    problem: Problem,
    x: Tensor,
    index: Tensor,
    label: Tensor,
    progress: float,
    noise: torch.Generator,
    clock: Clock,
) -> dict[str, Tensor]:
    """Attack, forward passes in the recipe's order, memory, loss, update; the batch mean of every term."""
    model, defense, recipe = state.model, problem.defense, problem.recipe
    with clock.section("attack"):
        x_adv = _attacked(state, problem, x, index, label, noise)
    with clock.section("update"):
        logits = _passes(model, effective_passes(recipe, defense.clean_in_outer), x, x_adv)
        clean = logits.get("clean")
        adv = logits["adv"] if "adv" in logits else logits["clean"]  # without an attack x' is x
        seen = clean if clean is not None else adv
        state.memory = defense.targets.update(state.memory, index, seen, progress)
        target = defense.targets.read(state.memory, index)
        terms = defense.outer(Views(clean, adv, target, label))
        terms = {name: _per_example(value, label, f"outer's {name!r}").mean() for name, value in terms.items()}
        state.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        state.optimiser.step()
        if state.average:
            state.average.update(model)  # type: ignore[operator]
    return {name: value.detach() for name, value in terms.items()}


def _attacked(
    state: State, problem: Problem, x: Tensor, index: Tensor, label: Tensor, noise: torch.Generator
) -> Tensor:
    """The inner maximisation; clean logits are computed once, where the defense reads them. Without an attack: x."""
    model, defense, recipe = state.model, problem.defense, problem.recipe
    if recipe.attack is None:
        return x
    with frozen(model, recipe.attack_mode):
        with torch.no_grad():
            clean = model(x) if defense.clean_in_inner else None
        target = defense.targets.read(state.memory, index)

        def gain(z: Tensor) -> Tensor:
            return _per_example(defense.inner(Views(clean, z, target, label)), label, "inner")

        return recipe.attack(model, gain, x, problem.threat, noise)


def _per_example(value: Tensor, label: Tensor, what: str) -> Tensor:
    if value.shape != label.shape:
        raise RecipeError(f"{what} has shape {tuple(value.shape)}; a defense returns one value per example, (N,)")
    return value


def _passes(model: nn.Module, passes: tuple[Pass, ...], x: Tensor, x_adv: Tensor) -> dict[str, Tensor]:
    """Logits of the train-mode passes; all but the last of a repeated pass only move batch-norm statistics."""
    inputs = {"clean": x, "adv": x_adv}
    logits: dict[str, Tensor] = {}
    for position, name in enumerate(passes):
        with torch.set_grad_enabled(name not in passes[position + 1 :]):
            logits[name] = model(inputs[name])
    return logits


def _validate(state: State, problem: Problem, validation: Split, epoch: int, seed: int) -> dict[str, float]:
    """Clean accuracy, and robust accuracy under the training attack on cross-entropy, in percent."""
    model, attack = state.evaluated(), problem.recipe.attack
    noise = generator(validation.images.device, seed, "validation", epoch)
    clean = robust = 0
    with frozen(model):
        for images, labels in zip(*(part.split(512) for part in validation), strict=True):
            x = to_float(images)
            with torch.no_grad():
                clean += int((model(x).argmax(1) == labels).sum())
            if attack is not None:
                x = attack(model, misclassify(labels), x, problem.threat, noise)
                with torch.no_grad():
                    robust += int((model(x).argmax(1) == labels).sum())
    count = len(validation.labels)
    return {"clean": 100 * clean / count} | ({"robust": 100 * robust / count} if attack else {})
