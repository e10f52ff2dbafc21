"""The one training loop, around epochs (robench_fire.training.epoch) and their steps (robench_fire.training.step)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from robench_fire import stopping
from robench_fire.data.batches import batches_per_epoch
from robench_fire.data.pool import laid
from robench_fire.devices.compilation import Compiled, Say, once
from robench_fire.devices.precision import lay_out, layout, resolve
from robench_fire.devices.process_group import ALONE, ProcessGroup
from robench_fire.devices.random_streams import derive
from robench_fire.errors import RecipeError
from robench_fire.models.batch_norm import arranged
from robench_fire.models.stacked import Stacked
from robench_fire.problem.dataset import Split
from robench_fire.problem.recipe import Recipe
from robench_fire.progress import Progress, silent
from robench_fire.training import perturbations, saving
from robench_fire.training.epoch import Row, train_epoch
from robench_fire.training.out_of_memory import within_memory
from robench_fire.training.saving import Saves
from robench_fire.training.setup import Passes, Problem, Setup, gains_of, refuses_processes, refuses_together
from robench_fire.training.state import SeedState, State, fresh
from robench_fire.training.validation import Pictures, score, validate

CPU = torch.device("cpu")


@dataclass
class Trained:
    """One seed's weights to evaluate, its curve (one row per epoch), and what the training took.

    ``seconds``: "train" (all steps, by the wall clock), of which "warm_up" (the first step of each batch size in each
    session: compilation, caches); after warm-up, on the device: "data", "attack", "update", "optimiser"; "validation".
    Seeds trained together share them: each has its share. ``arithmetic``: what was computed in.
    """

    weights: dict[str, Tensor]
    curve: list[Row]
    seconds: dict[str, float]
    warm_up_images: int
    arithmetic: dict[str, str]


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
    epoch_done: Callable[[list[Row]], None] = lambda curve: None,
    compiling: bool = False,
    group: ProcessGroup = ALONE,
    say: Say = lambda text: None,
    save_every: float = saving.EVERY,
    streaming: bool | None = None,
) -> Trained:
    """Train a fresh model; continues from ``state_file`` if it exists, with the step that it was at.

    It is written after every epoch, every ``save_every`` seconds between two steps, and where a signal stops the
    training. ``compiling``: use torch.compile; ``say`` hears if that fails. In a ``group`` of several processes all
    call this, and the first one writes.

    Raises:
        Stopped: after a signal, between two steps; all steps that were made are in ``state_file``.
        DivergedError: at the first non-finite loss, naming the step.
        DataError: if ``state_file`` cannot be read.
        RecipeError: if the device cannot compute in the recipe's precision.
        RobenchError: if memory is short, naming a batch that fits.
    """
    (trained,) = train_together(
        build, problem, seeds=[seed], device=device, state_files=[state_file], progress=progress,
        epoch_done=lambda number, curve: epoch_done(curve), compiling=compiling, group=group, say=say,
        save_every=save_every, streaming=streaming,
    )  # fmt: skip
    return trained


def train_together(
    build: Callable[[], nn.Module], problem: Problem, *, seeds: Sequence[int], device: torch.device,
    state_files: Sequence[Path | None], progress: Progress = silent,
    epoch_done: Callable[[int, list[Row]], None] = lambda number, curve: None, compiling: bool = False,
    group: ProcessGroup = ALONE, say: Say = lambda text: None, pictures: Pictures | None = None,
    save_every: float = saving.EVERY, saved: Callable[[], None] = lambda: None, streaming: bool | None = None,
) -> list[Trained]:  # fmt: skip
    """``train`` for several seeds side by side, each with the result that it has alone but for rounding.

    ``epoch_done`` hears the number of the seed among ``seeds`` and its curve, ``pictures`` that number and the first
    validation images with their perturbations; ``saved``, that the state was. ``streaming``: see pool.laid.

    Raises:
        RecipeError: also if a model or a defense does not train side by side as it does alone.
    """
    state, setup = prepared(build, problem, seeds, device, compiling, group, say, streaming)
    files = [path for path in state_files if path is not None]
    begun = bool(files) and all(map(saving.there, files))
    known = group.agreed(lambda: [saving.read(path, CPU, say) for path in files] if begun else [])
    if known:
        state.restore(known)
    with stopping.deferred():
        _finish(state, setup, files, progress, epoch_done, pictures, partial(Saves, every=save_every), saved)
    facts = _facts(setup, len(seeds))
    return [
        Trained(
            {name: value.detach().cpu() for name, value in (one.best or state.weights(number)).items()},
            one.curve, state.share(), state.warm_up_images, facts,
        )
        for number, one in enumerate(state.seeds)
    ]  # fmt: skip


def _finish(
    state: State, setup: Setup, files: Sequence[Path], progress: Progress,
    epoch_done: Callable[[int, list[Row]], None], pictures: Pictures | None,
    saving_by: Callable[[Callable[[], None]], Saves], saved: Callable[[], None],
) -> None:  # fmt: skip
    """Train the epochs that are left; what is said and saved after each."""

    def save() -> None:
        for number, path in enumerate(files if setup.group.first else ()):
            state.write(number, path)
        saved()

    saves = saving_by(save)
    recipe, validation = setup.problem.recipe, laid(setup.problem.validation, setup.device)
    steps = batches_per_epoch(recipe, len(setup.problem.train.labels))
    known_sizes: set[int] = set()
    for epoch in range(len(state.seeds[0].curve) + 1, recipe.epochs + 1):
        ticked = partial(_tick, progress, (epoch - 1) * steps, recipe.epochs * steps, _note(state.seeds[0].curve))
        rows = train_epoch(state, setup, epoch, known_sizes, ticked, saves)
        started = time.perf_counter()
        with within_memory(state, setup):
            found = validate(state, setup, validation, epoch, pictures)
        for number, row in enumerate(rows):
            _keep(state, recipe, number, row | found[number])
        state.took({"validation": time.perf_counter() - started})
        saves.save()
        for number, one in enumerate(state.seeds):
            epoch_done(number, one.curve)


def prepared(
    build: Callable[[], nn.Module],
    problem: Problem,
    seeds: Sequence[int],
    device: torch.device,
    compiling: bool = False,
    group: ProcessGroup = ALONE,
    say: Say = lambda text: None,
    streaming: bool | None = None,
) -> tuple[State, Setup]:
    """A fresh state and the functions that a step calls."""
    recipe, pool = problem.recipe, problem.train
    group = replace(group, slice_size=recipe.ghost_batch or 1)
    arithmetic = resolve(recipe, device)
    if problem.extra is not None:
        pool = Split(*(torch.cat(pair) for pair in zip(pool, problem.extra, strict=True)))
    pool = laid(pool, device, streaming)
    width = pool.images.shape[-1]
    models = [arranged(_begun(build, problem, seed), recipe.ghost_batch, group, device).to(device) for seed in seeds]
    if len(seeds) > 1 and (why := refuses_together(problem.defense, models[0])):
        raise RecipeError(f"several seeds cannot be trained at once: {why}; leave out --together")
    if len(seeds) > 1 and arithmetic.update == "fp16":
        raise RecipeError("fp16 has one scale for all seeds; leave out --together, or use --precision bf16")
    if group.size > 1 and (why := refuses_processes(problem.defense, recipe)):
        raise RecipeError(f"several processes cannot train this: {why}; use one device")
    model = Stacked(models) if len(seeds) > 1 else models[0]
    lay_out(model, width)
    updates = recipe.epochs * recipe.updates * batches_per_epoch(recipe, len(problem.train.labels))
    init, blank = problem.defense.targets.init, perturbations.blank
    states = [
        SeedState(seed, init(pool.labels, problem.num_classes), kept=blank(recipe, pool.images, device))
        for seed in seeds
    ]
    scaler = torch.amp.GradScaler(device.type, enabled=arithmetic.update == "fp16")
    state = fresh(model, recipe, states, scaler, updates)
    passes, gains = group.averaging(Passes(model, recipe, problem.defense)), gains_of(model, problem.defense)
    setup = Setup(
        problem, pool, device, arithmetic, layout(width), group, passes, gains, _teacher(problem, seeds, device)
    )
    return state, _compiled(setup, once(say)) if compiling else setup


def _begun(build: Callable[[], nn.Module], problem: Problem, seed: int) -> nn.Module:
    model = initialised(build, seed)
    if problem.begin is not None:
        problem.begin(model, seed)
    return model


def _teacher(problem: Problem, seeds: Sequence[int], device: torch.device) -> Callable[[Tensor], Tensor] | None:
    if problem.teacher is None:
        return None
    own = [problem.teacher(seed).to(device) for seed in seeds]
    return lambda x: torch.cat([each(part) for each, part in zip(own, x.chunk(len(own)), strict=True)])


def _compiled(setup: Setup, say: Say) -> Setup:
    gains = {name: Compiled(gain, say) for name, gain in setup.gains.items()}
    if setup.problem.defense.gradients_at:
        say("the update is not compiled: torch.compile makes no gradients of gradients")
        return replace(setup, gains=gains)
    return replace(setup, passes=Compiled(setup.passes, say), gains=gains)


def _facts(setup: Setup, together: int) -> dict[str, str]:
    formats = asdict(setup.arithmetic)
    functions: list[object] = [setup.passes, *setup.gains.values()]
    compiled = all(isinstance(each, Compiled) and each.working for each in functions)
    return {**formats, "compiled": str(compiled), "together": str(together), "processes": str(setup.group.size)}


def _keep(state: State, recipe: Recipe, number: int, row: Row) -> None:
    """Add an epoch to a seed's curve, and its weights if the recipe would keep this epoch."""
    one = state.seeds[number]
    if recipe.select != "last" and score(row) >= max(map(score, one.curve), default=0.0):
        one.best = state.weights(number, plain=not row.get("averaged", 1))
    one.curve.append(row)


def _tick(progress: Progress, before: int, total: int, note: str, done: int, rate: float) -> None:
    progress(before + done, total, f"{note}{rate:,.0f} img/s")


def _note(curve: list[Row]) -> str:
    """Of the last epoch, short and first, so that a narrow terminal shows it: loss, validation clean / robust."""
    if not curve:
        return ""
    last = curve[-1]
    robust = f"/{last['robust']:.1f}" if "robust" in last else ""
    return f"loss {last['loss']:.3f}, val {last['clean']:.1f}{robust}, "
