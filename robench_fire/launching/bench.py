"""Defenses x seeds: check everything, say what it will cost, run, and collect the rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from robench_fire.boards.rows import Row, collect, ranked
from robench_fire.costs.estimate import estimate
from robench_fire.data import extra_images, fetching
from robench_fire.devices.determinism import deterministic
from robench_fire.devices.device import use
from robench_fire.devices.workers import cores, useful
from robench_fire.errors import RecipeError, RobenchError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching import ray_cluster, ray_runs
from robench_fire.launching.local import Task, launch
from robench_fire.launching.ray_cluster import Cluster
from robench_fire.launching.ray_runs import Cell
from robench_fire.launching.ray_task import Stage
from robench_fire.launching.seed import (
    all_judged,
    begun_otherwise,
    judge_seed,
    run_folder,
    run_seed,
    train_group,
)  # fmt: skip
from robench_fire.launching.training_stage import Workplace, check_together
from robench_fire.models.own import text as own_text
from robench_fire.problem.dataset import Dataset
from robench_fire.problem.plan import fingerprint
from robench_fire.progress import Event, Listen, Listening
from robench_fire.quantity import duration
from robench_fire.runs import provenance
from robench_fire.runs.compose import Composed, Request, compose, pinned
from robench_fire.runs.folders import find

Say = Callable[[str], None]
Start = Callable[[Stage, Mapping[str, Cell], Listen], dict[str, RobenchError]]
"""Runs a stage of every cell: the errors by cell."""

WORTH = 600.0  # seconds: what takes longer hears how all cores would be used
LONG = 86400.0  # seconds: a bench that takes longer is warned about


def bench(
    requests: Sequence[Request],
    seeds: Sequence[int],
    evaluations: Evaluations,
    place: Workplace,
    jobs: int,
    listening: Listening,
    say: Say,
    together: bool = False,
    cluster: Cluster | None = None,
) -> tuple[list[Row], dict[str, RobenchError]]:
    """Train and evaluate every request over the seeds; the rows of their plans, and the errors by run.

    Everything is composed and checked first, so that nothing is spent before a mistake is found. ``jobs`` runs go at a
    time (0: as many as are useful); ``together``: the seeds of each request are trained side by side, in as many groups
    as ``jobs`` (0: in one). All happens on this machine, or on those of a ``cluster``.
    """
    composed = _checked(requests, evaluations, place, together)
    check_given(composed, seeds, cluster is not None)
    requests = [pinned(request, each.plan) for request, each in zip(requests, composed, strict=True)]
    for remark in _remarks(requests, composed, evaluations, place.output):
        say(remark)
    cells = {
        f"{name_of(request, each)} seed {seed}": Cell(request, seed, run_folder(each, place.output, seed))
        for seed in seeds
        for request, each in zip(requests, composed, strict=True)
    }
    if cluster is not None:
        with ray_cluster.joined(cluster):
            say(ray_cluster.described(ray_cluster.needs(cluster)))
            failed = _train_and_judge(partial(_there, evaluations, place, cluster, jobs), cells, evaluations, listening)
        return _rows(composed, place), failed
    bring_data(composed[0], place.data, listening)
    groups_each, jobs = jobs or 1, useful(jobs, len(cells), place.device)
    _announce(composed, seeds, jobs, place, say)
    failed = _side_by_side(requests, composed, seeds, place, groups_each, jobs, listening) if together else {}
    left = {name: cell for name, cell in cells.items() if name not in failed}
    if evaluations.attacks or not together:  # else nothing is left to do
        failed |= _train_and_judge(partial(_here, evaluations, place, jobs), left, evaluations, listening)
    return _rows(composed, place), failed


def _remarks(
    requests: Sequence[Request], composed: Sequence[Composed], evaluations: Evaluations, output: Path
) -> list[str]:
    """What a user should know before anything is spent."""
    first = composed[0]
    found = evaluations.remarks(first.plan.dataset, first.dataset.num_classes)
    pairs = [(each.plan, request.epochs) for request, each in zip(requests, composed, strict=True)]
    others = [
        f"{plan.name} {plan.recipe.epochs}" for plan, asked in pairs
        if asked and plan.recipe.epochs not in (asked, 2 * asked * (plan.recipe.extra is not None))
    ]  # fmt: skip
    if others:
        found.append(f"epochs of methods that set their own, not --epochs: {', '.join(others)}")
    return found + [note for each in composed for note in begun_otherwise(each, output)]


def name_of(request: Request, composed: Composed) -> str:
    """What a plan is called while it runs; the points of a sweep by what is swept."""
    return f"{composed.plan.name} {request.swept}".rstrip()


def _checked(requests: Sequence[Request], evaluations: Evaluations, place: Workplace, together: bool) -> list[Composed]:
    """The plans, once nothing is found that would end them or their evaluation later."""
    composed = [compose(request) for request in requests]
    check_evaluations(composed, evaluations)
    check(composed, place.output, together)
    for request, each in zip(requests, composed, strict=True):
        if request.extra_data is not None:
            extra_images.load(request.extra_data, each.dataset.shape, each.dataset.num_classes)
    return composed


def _here(
    evaluations: Evaluations, place: Workplace, jobs: int, stage: Stage, cells: Mapping[str, Cell], listen: Listen
) -> dict[str, RobenchError]:
    tasks = {name: partial(stage, cell.request, cell.seed, evaluations, place) for name, cell in cells.items()}
    return launch(tasks, min(jobs, len(tasks)), listen)


def _there(
    evaluations: Evaluations, place: Workplace, cluster: Cluster, jobs: int, stage: Stage, cells: Mapping[str, Cell],
    listen: Listen,
) -> dict[str, RobenchError]:  # fmt: skip
    judging = stage is judge_seed  # which looks at the other seeds
    return ray_runs.launch(stage, cells, evaluations, place.output, cluster, listen, jobs=jobs, siblings=judging)


def _train_and_judge(
    start: Start, cells: Mapping[str, Cell], evaluations: Evaluations, listening: Listening
) -> dict[str, RobenchError]:
    if not cells:
        return {}
    dataset = next(iter(cells.values())).request.dataset
    with listening(len(cells), f"{dataset}: {len(cells)} runs") as listen:
        failed = start(run_seed, cells, listen)
    left = {name: cell for name, cell in cells.items() if name not in failed}  # judged with the help of each other
    judge = {name: cell for name, cell in left.items() if not all_judged(cell.run, evaluations.attacks)}
    if judge:
        with listening(len(judge), "reliability") as listen:
            failed |= start(judge_seed, judge, listen)
    return failed


def _side_by_side(
    requests: Sequence[Request],
    composed: Sequence[Composed],
    seeds: Sequence[int],
    place: Workplace,
    groups_each: int,
    jobs: int,
    listening: Listening,
) -> dict[str, RobenchError]:
    """Train the seeds of each request in ``groups_each`` groups, ``jobs`` groups at a time; the errors by run."""
    groups: dict[str, list[int]] = {}
    tasks: dict[str, Task] = {}
    names: dict[str, str] = {}
    parts = min(groups_each, len(seeds))
    for request, each in zip(requests, composed, strict=True):
        for part in (list(seeds[first::parts]) for first in range(parts)):
            name = name_of(request, each)
            group = f"{name} seed{'s' * (len(part) > 1)} {','.join(map(str, part))}"
            groups[group], names[group] = part, name
            tasks[group] = partial(train_group, request, part, place)
    with listening(len(tasks), f"{composed[0].plan.dataset}: training") as listen:
        failed = launch(tasks, min(jobs, len(tasks)), listen)
    return {f"{names[group]} seed {seed}": fault for group, fault in failed.items() for seed in groups[group]}


def _rows(composed: Sequence[Composed], place: Workplace) -> list[Row]:
    folders = dict.fromkeys(run_folder(each, place.output, 0).folder.parent for each in composed)
    return ranked(row for folder in folders for row in collect(folder))


def bring_data(composed: Composed, folder: Path, listening: Listening) -> None:
    """Fetch the data set's files if they are missing, and verify them."""
    bring_files(composed.plan.dataset, composed.dataset, folder, listening)


def bring_files(name: str, dataset: Dataset, folder: Path, listening: Listening) -> None:
    """The same of a data set by itself."""
    missing = [file for file in dataset.files if fetching.condition(file, folder) == "missing"]
    if missing:
        with listening(1, f"data {name}") as listen:
            fetching.fetch(
                name, dataset, folder, lambda done, total, note: listen(Event(name, "data", done, total, note))
            )


def check_evaluations(composed: Sequence[Composed], evaluations: Evaluations) -> None:
    """Refuse evaluations that cannot be made of what is going to be trained.

    Raises:
        UsageError, RecipeError: naming what to change.
    """
    for each in composed:
        evaluations.check(each.plan.dataset, each.dataset.num_classes)
        if evaluations.attacks and not each.plan.claim.eps > 0:
            fix = "claim a larger one, or use --no-eval"
            raise RecipeError(f"{each.plan.name}: nothing can be attacked at eps {each.plan.claim.eps}; {fix}")


def check_given(composed: Sequence[Composed], seeds: Sequence[int], elsewhere: bool = False) -> None:
    """Whether the weights that users give are there, for all seeds; ``elsewhere``: runs are trained on other machines.

    Raises:
        DataError: naming a seed that they are not there for.
        UsageError: if the machines that train do not have them.
    """
    if elsewhere and (named := [each.plan.recipe.arch for each in composed if own_text.read(each.plan.recipe.arch)]):
        raise UsageError(f"{named[0]} is code of this machine, which others do not see: train on this one")
    for own in (own for each in composed for own in each.given):
        if elsewhere:
            fix = "train on this one, without --launcher"
            raise UsageError(f"--start and --teacher name weights of this machine, which others do not see: {fix}")
        for seed in seeds:
            own.of(seed)


def check(composed: Sequence[Composed], output: Path, together: bool = False) -> None:
    """Refuse what is there twice, an output folder that cannot be used, and what cannot go ``together``.

    Raises:
        UsageError, RecipeError: naming what to change.
    """
    for each in composed if together else ():
        check_together(each)
    names = [each.plan.name for each in composed]
    files = {(each.plan.name, each.plan.code) for each in composed}
    if len({fingerprint(each.plan) for each in composed}) < len(names) or len(files) > len(set(names)):
        raise UsageError(f"two of the defenses {', '.join(names)} have one name; leave one out, or rename its file")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"--output {output} is a file; choose a folder") from None
    except OSError as fault:
        raise UsageError(f"--output {output} cannot be made ({fault.strerror}); choose another folder") from None
    if not os.access(output, os.W_OK):
        raise UsageError(f"--output {output} is not writable; choose another folder")
    for each in composed:
        find(run_folder(each, output, 0).folder.parent)  # before anything is trained: their rows are made of all seeds


def _announce(composed: Sequence[Composed], seeds: Sequence[int], jobs: int, place: Workplace, say: Say) -> None:
    """Say what is left to train and how long that takes here; name a way out if that is more than a day."""
    device = torch.device(place.device)
    use(device)
    total, runs = 0.0, 0
    per_forward: dict[str, float] = {}
    for each in composed:
        left = [seed for seed in seeds if not run_folder(each, place.output, seed).trained]
        runs += len(left)
        if left:
            with deterministic(place.deterministic, device, place.threads):
                total += len(left) * estimate(each, device, per_forward)
    if not total:
        return
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the workers need the memory that the estimate took
        if (idle := torch.cuda.device_count() - 1) and len(composed) * len(seeds) > 1:
            say(f"{idle} more GPU{'s' * (idle > 1)} here: --launcher ray uses all, another command --device cuda:1")
    jobs = min(jobs, runs)
    total /= jobs
    where = f"{provenance.device_name(device)}, {jobs} at a time" if jobs > 1 else provenance.device_name(device)
    say(f"training: about {duration(total)} on {where}, evaluation not counted")
    if total > WORTH and device.type == "cpu" and place.deterministic and (idle := cores() - jobs * place.threads) > 0:
        say(f"{idle} cores are idle, so that weights are the same bits each time; --no-deterministic uses all")
    if total > LONG:
        say(
            "That is long. What makes it feasible: a GPU (--device cuda), a smaller network (--arch resnet-18, "
            "--arch wrn-10-1), fewer epochs (--epochs 2), fewer seeds (--seeds 1). An interrupted run continues."
        )
