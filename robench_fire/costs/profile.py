"""Where the time of a training goes: a few real steps of the engine, timed, and what the whole recipe would take."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from robench_fire.costs import account
from robench_fire.costs.estimate import estimate
from robench_fire.costs.work import per_update, work
from robench_fire.data import fetching
from robench_fire.devices.device import use
from robench_fire.devices.meters import matmul_rate, peak_memory
from robench_fire.devices.precision import resolve
from robench_fire.errors import UsageError
from robench_fire.problem.dataset import Split
from robench_fire.problem.recipe import Recipe
from robench_fire.progress import Progress, Report
from robench_fire.runs import provenance
from robench_fire.runs.compose import Composed
from robench_fire.runs.folders import SEEDS
from robench_fire.training.engine import Trained, train
from robench_fire.training.setup import Problem

SECONDS, STEPS = 15.0, 20  # how long is measured, and how many steps at most
STEP_SECONDS = 8.0  # a step that would take longer is made with a smaller batch
USUAL_MFU = 0.4  # of large networks, to guess that


class Images(NamedTuple):
    """What the steps train on, and whether it is the data set."""

    split: Split
    real: bool


def profile(
    composed: Composed, data: Path, device: torch.device, report: Report, trace: Path | None = None,
    compiling: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Train a few steps and say what they took, per step: seconds by section, images/s, FLOP/s, MFU, memory.

    On the data set's own images where they are on the disk, on random ones otherwise. Where a step of the recipe's
    batch would take many seconds its batch is smaller. ``trace``: also write torch.profiler's Chrome trace of two
    further steps to this file.

    Raises:
        UsageError: if the trace cannot be written.
        RobenchError: if memory is short, naming a batch that fits.
    """
    if trace is not None:
        _check(trace)
    use(device)
    plan, images = composed.plan, _images(composed, data)
    one = _problem(composed, images, plan.recipe.batch_size, 1)
    each = account.flops_per_image(composed.build, one)
    most = matmul_rate(device, resolve(plan.recipe, device).update)
    batch = _batch(plan.recipe, each, most)

    def run(stage: str, steps: int, progress: Progress | None = None) -> Trained:
        told = progress or (lambda done, total, note: report(stage, done, total, note))
        problem = _problem(composed, images, batch, steps)
        return train(composed.build, problem, seed=0, device=device, progress=told, compiling=compiling)

    first = run("warm-up", 2).seconds
    steps = max(1, min(STEPS, int(SECONDS / (first["train"] - first["warm_up"]))))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trained = run("steps", 1 + steps)
    found = _measured(composed, trained, steps, batch, each, most, device)
    if trace is not None:
        _traced(trace, device, lambda told: run("trace", 3, told))
    return {**_about(composed, images, batch, device), **found, "trace": str(trace) if trace else None}


def _check(trace: Path) -> None:
    folder = trace.resolve().parent
    if not folder.is_dir() or trace.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--trace {trace}: no file can be written there; name one in a folder that exists")


def _images(composed: Composed, data: Path) -> Images:
    plan, dataset = composed.plan, composed.dataset
    if all(fetching.condition(file, data) == "verified" for file in dataset.files):
        return Images(fetching.splits(plan.dataset, dataset, data).train, True)
    stream = torch.Generator().manual_seed(0)
    count = min(dataset.train_size, (STEPS + 1) * plan.recipe.batch_size)
    pixels = torch.randint(256, (count, *dataset.shape), dtype=torch.uint8, generator=stream)
    return Images(Split(pixels, torch.randint(dataset.num_classes, (count,), generator=stream)), False)


def _problem(composed: Composed, images: Images, batch: int, steps: int) -> Problem:
    """One epoch of ``steps`` batches; labelled images stand for pseudo-labelled ones, where the recipe has these."""
    plan = composed.plan
    recipe = replace(plan.recipe, epochs=1, batch_size=batch, select="last")
    part = images.split.take(torch.arange(steps * batch) % len(images.split.labels))
    least = part.take(slice(1))  # the engine validates after an epoch
    extra = part if recipe.extra else None
    classes = composed.dataset.num_classes
    return Problem(plan.defense, plan.threat, recipe, part, least, classes, extra, composed.begin, composed.teacher)


def _batch(recipe: Recipe, flops_per_image: int, most: float) -> int:
    """The recipe's batch, or the largest one whose step should take no longer than STEP_SECONDS."""
    fits = int(STEP_SECONDS * USUAL_MFU * most / flops_per_image)
    for size in range(max(fits, 2), recipe.batch_size):
        try:
            return replace(recipe, batch_size=size).batch_size
        except ValueError:  # too small for a share of it to be pseudo-labelled
            continue
    return recipe.batch_size


def _measured(
    composed: Composed, trained: Trained, steps: int, batch: int, each: int, most: float, device: torch.device
) -> dict[str, Any]:
    sections = account.sections(trained.seconds)
    taken = {name: value / steps for name, value in sections.items() if name not in ("warm_up", "validation")}
    per_second = account.rate(trained.seconds, (steps + 1) * batch, trained.warm_up_images)
    recipe, defense = composed.plan.recipe, composed.plan.defense
    equivalents = work(defense, recipe).forward_equivalents
    whole = estimate(composed, device, {recipe.arch: 1 / per_second / equivalents})
    return {
        "steps": steps,
        "warm_up_seconds": trained.seconds["warm_up"],
        "step_seconds": batch / per_second,
        "sections": taken,
        "images_per_second": per_second,
        "forward_equivalents": per_update(defense, recipe),
        "flops_per_image": each,
        "flops_per_update": each * recipe.batch_size // recipe.updates,
        "flops_per_second": each * per_second,
        "matmul_flops_per_second": most,
        "mfu": each * per_second / most if most else None,
        "peak_memory_bytes": peak_memory(device),
        "peak_memory_of": "process" if device.type == "cpu" else "device",
        "arithmetic": trained.arithmetic,
        "training_seconds": {"1": whole, str(SEEDS): SEEDS * whole},
    }


def _about(composed: Composed, images: Images, batch: int, device: torch.device) -> dict[str, Any]:
    plan = composed.plan
    return {
        "defense": plan.name,
        "dataset": plan.dataset,
        "arch": plan.recipe.arch,
        "device": provenance.device_name(device),
        "threads": torch.get_num_threads(),
        "batch_size": batch,
        "recipe_batch_size": plan.recipe.batch_size,
        "epochs": plan.recipe.epochs,
        "real_images": images.real,
    }


def _traced(file: Path, device: torch.device, run: Callable[[Progress], Trained]) -> None:
    """torch.profiler over the second and third step of ``run``, which tells its progress after each."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its library writes to stderr, that there is no GPU for example
    from torch.profiler import ProfilerActivity, schedule
    from torch.profiler import profile as record

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with record(activities=activities, schedule=schedule(wait=0, warmup=1, active=2, repeat=1)) as recorder:
        run(lambda done, total, note: recorder.step())
    recorder.export_chrome_trace(str(file))
