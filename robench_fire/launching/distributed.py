"""Seeds trained one after another, each by all the processes that torchrun started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch

from robench_fire.boards.rows import Row
from robench_fire.costs.estimate import estimate
from robench_fire.data import extra_images, fetching
from robench_fire.devices import torchrun
from robench_fire.devices.determinism import deterministic
from robench_fire.devices.process_group import ProcessGroup
from robench_fire.errors import DivergedError, RecipeError, RobenchError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.bench import Say, bring_data, check, check_evaluations, check_given
from robench_fire.launching.bench import bench as bench_here
from robench_fire.launching.local import reporter
from robench_fire.launching.seed import run_folder, train_seed
from robench_fire.launching.training_stage import Workplace
from robench_fire.progress import Event, Listen, Listening
from robench_fire.quantity import duration
from robench_fire.runs import provenance
from robench_fire.runs.compose import Composed, Request, compose
from robench_fire.training.setup import refuses_processes


def bench(
    requests: Sequence[Request],
    seeds: Sequence[int],
    evaluations: Evaluations,
    place: Workplace,
    jobs: int,
    listening: Listening,
    say: Say,
) -> tuple[list[Row], dict[str, RobenchError]]:
    """As bench.bench, of one request: all processes train, then the first one evaluates, and the others find nothing.

    Raises:
        RobenchError: whatever stops a training, but for a loss that is not finite, stops all.
    """
    (request,) = requests
    composed = compose(request)
    check_evaluations([composed], evaluations)
    failed = train(request, seeds, place, listening, say)
    left = [seed for seed in seeds if seed not in failed]
    rows: list[Row] = []
    others: dict[str, RobenchError] = {}
    if left and torchrun.first():
        rows, others = bench_here(requests, left, evaluations, place, jobs, listening, say)
    diverged = (
        {f"{composed.plan.name} seed {seed}": fault for seed, fault in failed.items()} if torchrun.first() else {}
    )
    return rows, diverged | others


def train(
    request: Request, seeds: Sequence[int], place: Workplace, listening: Listening, say: Say
) -> dict[int, RobenchError]:
    """Train what is not trained yet of ``seeds``; in every process the seeds that diverged.

    All processes call this. When it returns they can no longer talk to each other.
    """
    composed = compose(request)
    check_given([composed], seeds)
    request = replace(request, code=composed.plan.code)
    torchrun.check_batch(composed.plan.recipe)
    if why := refuses_processes(composed.plan.defense, composed.plan.recipe):
        raise RecipeError(f"several processes cannot train {composed.plan.name}: {why}; use one device")
    if request.extra_data is not None:
        extra_images.load(request.extra_data, composed.dataset.shape, composed.dataset.num_classes)
    failed: dict[int, RobenchError] = {}
    with torchrun.entered(torch.device(place.device)) as group, ExitStack() as shown:
        group.agreed(partial(_begin, composed, seeds, place, group, listening, say))
        fetching.splits(
            composed.plan.dataset, composed.dataset, place.data
        )  # if it is missing here, before any training
        listen: Listen = _unheard
        if group.first:
            listen = shown.enter_context(listening(len(seeds), f"{composed.plan.dataset}: {len(seeds)} runs"))
        for seed in seeds:
            name = f"{composed.plan.name} seed {seed}"
            try:
                train_seed(request, seed, place, group, reporter(name, listen))
                listen(Event(name, "done", 1, 1, f"trained by {group.size} processes"))
            except DivergedError as fault:  # which all processes find at once
                failed[seed] = fault
                listen(Event(name, "failed", 1, 1, str(fault)))
    return failed


def _begin(
    composed: Composed, seeds: Sequence[int], place: Workplace, group: ProcessGroup, listening: Listening, say: Say
) -> None:
    """What the first process does before any seed: find mistakes, bring the data, say how long it will take."""
    check([composed], place.output)
    bring_data(composed, place.data, listening)
    left = [seed for seed in seeds if not run_folder(composed, place.output, seed).trained]
    if left:
        device = torch.device(place.device)
        with deterministic(place.deterministic, device, place.threads):
            seconds = len(left) * estimate(composed, device) / group.size
        where = f"{group.size} processes, {provenance.device_name(device)}"
        say(f"training: about {duration(seconds)} on {where}, evaluation not counted")


def _unheard(event: Event) -> None:
    pass
