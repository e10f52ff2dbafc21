"""Defenses x seeds: check everything, say what it will cost, run, and collect the rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch

from robench_fire import extra, fetch, provenance, pseudo
from robench_fire.assessor import Evaluations
from robench_fire.compose import Composed, Request, compose
from robench_fire.cost import forward_seconds, training_seconds
from robench_fire.devices import use
from robench_fire.errors import RobenchError, UsageError
from robench_fire.launch import launch
from robench_fire.leaderboard import Row, collect, ranked
from robench_fire.reporting import Event, Listen
from robench_fire.seed import Workplace, all_judged, judge_seed, run_folder, run_seed
from robench_fire.spoken import spoken
from robench_fire.workers import useful

Listening = Callable[[int, str], AbstractContextManager[Listen]]
"""(number of runs, what they are) to a listener that lives as long as the context."""
Say = Callable[[str], None]

LONG = 86400.0  # seconds: a bench that takes longer is warned about


def bench(
    requests: Sequence[Request],
    seeds: Sequence[int],
    evaluations: Evaluations,
    place: Workplace,
    jobs: int,
    listening: Listening,
    say: Say,
) -> tuple[list[Row], dict[str, RobenchError]]:
    """Train and evaluate every request over the seeds; the rows of their plans, and the errors by run.

    Everything is composed and checked first, so that nothing is spent before a mistake is found. ``jobs`` runs go at a
    time (0: as many as are useful here).
    """
    composed = [compose(request) for request in requests]
    _check(composed, place.output)
    bring_data(composed[0], place.data, listening)
    for request, each in zip(requests, composed, strict=True):
        if request.extra_data is not None:
            extra.load(request.extra_data, each.dataset.shape, each.dataset.num_classes)
    cells = {
        f"{each.plan.name} seed {seed}": (request, seed, run_folder(each, place.output, seed))
        for seed in seeds
        for request, each in zip(requests, composed, strict=True)
    }
    jobs = useful(jobs, len(cells), place.device)
    _announce(composed, seeds, jobs, place, say)
    tasks = {name: partial(run_seed, *cell[:2], evaluations, place) for name, cell in cells.items()}
    with listening(len(tasks), f"{composed[0].plan.dataset}: {len(tasks)} runs") as listen:
        failed = launch(tasks, jobs, listen)
    left = {name: cell for name, cell in cells.items() if name not in failed}  # judged with the help of each other
    judge = {
        name: partial(judge_seed, request, seed, evaluations, place)
        for name, (request, seed, run) in left.items()
        if not all_judged(run, evaluations.attacks)
    }
    if judge:
        with listening(len(judge), "reliability") as listen:
            failed |= launch(judge, min(jobs, len(judge)), listen)
    return _rows(composed, place), failed


def _rows(composed: Sequence[Composed], place: Workplace) -> list[Row]:
    folders = dict.fromkeys(run_folder(each, place.output, 0).folder.parent for each in composed)
    return ranked(row for folder in folders for row in collect(folder))


def bring_data(composed: Composed, folder: Path, listening: Listening) -> None:
    """Fetch the data set's files if they are missing, and verify them."""
    name = composed.plan.dataset
    missing = [file for file in composed.dataset.files if fetch.condition(file, folder) == "missing"]
    if missing:
        with listening(1, f"data {name}") as listen:
            fetch.fetch(
                name, composed.dataset, folder, lambda done, total, note: listen(Event(name, "data", done, total, note))
            )


def _check(composed: Sequence[Composed], output: Path) -> None:
    names = [each.plan.name for each in composed]
    if len(set(names)) < len(names):
        raise UsageError(f"two of the defenses {', '.join(names)} have one name; leave one out, or rename its file")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"--output {output} is a file; choose a folder") from None
    except OSError as fault:
        raise UsageError(f"--output {output} cannot be made ({fault.strerror}); choose another folder") from None
    if not os.access(output, os.W_OK):
        raise UsageError(f"--output {output} is not writable; choose another folder")


def _announce(composed: Sequence[Composed], seeds: Sequence[int], jobs: int, place: Workplace, say: Say) -> None:
    """Say what is left to train and how long that takes here; name a way out if that is more than a day."""
    device = torch.device(place.device)
    use(device)
    total = 0.0
    per_forward: dict[str, float] = {}
    for each in composed:
        left = [seed for seed in seeds if not run_folder(each, place.output, seed).trained]
        if left:
            total += len(left) * estimate(each, device, per_forward)
    if not total:
        return
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the workers need the memory that the estimate took
    total /= jobs
    where = f"{provenance.device_name(device)}, {jobs} at a time" if jobs > 1 else provenance.device_name(device)
    say(f"training: about {spoken(total)} on {where}, evaluation not counted")
    if total > LONG:
        say(
            "That is long. What makes it feasible: a GPU (--device cuda), a smaller network (--arch resnet-18, "
            "--arch wrn-10-1), fewer epochs (--epochs 2), fewer seeds (--seeds 1). An interrupted run continues."
        )


def estimate(composed: Composed, device: torch.device, per_forward: dict[str, float] | None = None) -> float:
    """Seconds to train one seed on ``device``, measured on a few images; ``per_forward`` remembers by architecture."""
    known = {} if per_forward is None else per_forward
    plan, dataset = composed.plan, composed.dataset
    if plan.recipe.arch not in known:
        known[plan.recipe.arch] = forward_seconds(composed.build, dataset.shape, plan.recipe.batch_size, device)
    each, mixed = known[plan.recipe.arch], plan.recipe.extra
    if mixed is None or mixed.source == "file":
        return training_seconds(plan.defense, plan.recipe, dataset.train_size, each)
    labelled = round(dataset.train_size * (1 - mixed.hidden))
    labeller = training_seconds(pseudo.Standard(), pseudo.labeller_recipe(plan.recipe), labelled, each)
    return labeller + training_seconds(plan.defense, plan.recipe, labelled, each)
