"""What a training took, for train.json: time by section, arithmetic, utilisation, memory and energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from robench_fire.costs.estimate import images_per_epoch
from robench_fire.costs.flops import forward_flops, network_flops, update_flops
from robench_fire.costs.work import per_update, work
from robench_fire.devices.meters import matmul_rate, peak_memory
from robench_fire.devices.precision import Format
from robench_fire.files import write_json
from robench_fire.runs.folders import read_json
from robench_fire.training.engine import Trained
from robench_fire.training.setup import Problem

TIMED = ("warm_up", "data", "attack", "update", "optimiser")  # parts of "train"; the rest of it are gaps


def facts(build: Callable[[], nn.Module], problem: Problem, trained: Trained, device: torch.device) -> dict[str, Any]:
    """Everything that is known of a training when it is over, in seconds, images, FLOPs and bytes.

    ``mfu``: achieved FLOP/s as a part of what matrix products reach, measured here, on this device, in the format of
    the update; ``processes`` devices together reach so many times one.
    """
    memory = peak_memory(device)  # before the matrix products, which take some
    images = len(trained.curve) * images_per_epoch(problem.recipe, len(problem.train.labels))
    each = flops_per_image(build, problem)
    per_second = rate(trained.seconds, images, trained.warm_up_images)
    processes = int(trained.arithmetic["processes"])
    most = processes * matmul_rate(device, cast(Format, trained.arithmetic["update"]))
    return {
        "seconds": trained.seconds["train"],
        "sections": sections(trained.seconds),
        "images": images,
        "images_per_second": per_second,
        "forward_equivalents": per_update(problem.defense, problem.recipe),
        "flops_per_image": each,
        "flops": each * images,
        "flops_per_second": each * per_second,
        "matmul_flops_per_second": most,
        "mfu": each * per_second / most if most else None,
        "arithmetic": trained.arithmetic,
        "processes": processes,
        "peak_memory_bytes": memory,
        "peak_memory_of": "process" if device.type == "cpu" else "device",
        "final": trained.curve[-1],
    }


def flops_per_image(build: Callable[[], nn.Module], problem: Problem) -> int:
    """FLOPs of the updates on a batch, divided by its images: the mean of all epochs, where these differ."""
    _, *sides = problem.train.images.shape
    shape = (sides[0], sides[1], sides[2])
    epochs, teacher = problem.recipe.epochs, problem.teacher
    done = [work(problem.defense, problem.recipe, epoch / epochs) for epoch in range(1, epochs + 1)]
    each = network_flops(build, shape, twice=done[0].through > 0)
    taught = forward_flops(teacher(None), shape) if teacher is not None else 0
    return sum(update_flops(each, one, taught) for one in done) // epochs


def training_flops(build: Callable[[], nn.Module], problem: Problem) -> int:
    """FLOPs of all updates of a training, validation not included."""
    images = problem.recipe.epochs * images_per_epoch(problem.recipe, len(problem.train.labels))
    return images * flops_per_image(build, problem)


def rate(seconds: Mapping[str, float], images: int, warm_up_images: int) -> float:
    """Images per second after the warm-up; with it, where there was nothing after it."""
    after = seconds["train"] - seconds.get("warm_up", 0.0)
    return (images - warm_up_images) / after if images > warm_up_images else images / seconds["train"]


def sections(seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each part of a training: of those that were timed, of the gaps between them, of the validation.

    Gaps are what is left of the wall time after the warm-up: the device waited for Python, or for another process.
    """
    timed = {name: seconds[name] for name in TIMED if name in seconds}
    gaps = max(seconds["train"] - sum(timed.values()), 0.0)  # device time and wall time come from two clocks
    rest = {name: value for name, value in seconds.items() if name not in (*TIMED, "train")}
    return {**timed, "gaps": gaps, **rest}


def energy_account(file: Path, first: bool, counter: Callable[[], float] | None) -> Callable[[], float | None]:
    """A function that gives the joules of a training up to now, with its earlier sessions, and notes them in ``file``.

    Call it wherever the state is saved. As with seconds, steps that were made and lost do not count. It gives None
    where it does not know all: there is no counter, or an earlier session had none. ``first``: there was none before.
    """
    if counter is None or not (first or file.exists()):
        file.unlink(missing_ok=True)
        return lambda: None
    read, before = counter, 0.0 if first else float(read_json(file)["joules"])
    began = read()

    def joules() -> float:
        spent = before + read() - began
        write_json(file, {"joules": spent})
        return spent

    joules()
    return joules
