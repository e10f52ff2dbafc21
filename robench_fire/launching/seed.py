"""One seed of one plan, from data to masks on disk. Every stage that is already there is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from robench_fire.data import fetching
from robench_fire.devices.device import use
from robench_fire.devices.process_group import ProcessGroup
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source, is_judged
from robench_fire.launching.training_stage import UNFINISHED, Workplace, train_runs
from robench_fire.models.own import text
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import differing, to_plain
from robench_fire.progress import Report
from robench_fire.runs.compose import Composed, Request, compose
from robench_fire.runs.folders import Run, find
from robench_fire.runs.model_source import source_of
from robench_fire.training import saving


def run_folder(composed: Composed, output: Path, seed: int) -> Run:
    """Where a seed's files lie."""
    plan = composed.plan
    return Run(output / plan.dataset / plan.threat.norm / plan.name / fingerprint(plan) / f"seed-{seed}")


def begun_otherwise(composed: Composed, output: Path) -> list[str]:
    """A sentence on each unfinished plan that differs only in the code of the user's own network."""
    own = text.read(composed.plan.recipe.arch)
    if own is None:
        return []
    plan, here, said = to_plain(composed.plan), run_folder(composed, output, 0).folder.parent, {}
    for run in find(here.parent):
        if run.trained or run.folder.parent == here:
            continue
        its = run.read("plan.json")
        other = text.read(its["recipe"]["arch"])
        if other and set(differing(its, plan)) == {"recipe.arch"} and other._replace(digest=own.digest) == own:
            again = str(own._replace(place=str(run.folder / own.place), digest=""))
            said[run.folder.parent] = (
                f"{run.folder} ({run.status()}) was begun with other code of {own.place} and is not continued; "
                f"--arch '{again}' would"
            )
    return [*said.values()]


def run_seed(request: Request, seed: int, evaluations: Evaluations, place: Workplace, report: Report) -> None:
    """Train one seed if it is not trained, then evaluate it if it is not evaluated.

    Raises:
        RobenchError: whatever stops the run; everything finished before stays.
    """
    composed = compose(request)
    run = run_folder(composed, place.output, seed)
    splits = fetching.splits(composed.plan.dataset, composed.dataset, place.data)
    device = torch.device(place.device)
    use(device)
    with run.locked():
        if _to_train(run, composed):
            train_runs([run], composed, request, splits, device, place, report)
        _tidy(run)
        evaluate_source(source_of(run), splits.test, evaluations, device, report, judge=False)


def train_seed(request: Request, seed: int, place: Workplace, group: ProcessGroup, report: Report) -> None:
    """Train one seed, if it is not trained, in all processes of a ``group``, which all call this; the first one writes.

    Raises:
        RobenchError: whatever stops the run; finished epochs stay.
    """
    composed = compose(request)
    run = run_folder(composed, place.output, seed)
    splits = fetching.splits(composed.plan.dataset, composed.dataset, place.data)
    with ExitStack() as locked:

        def begin() -> bool:
            locked.enter_context(run.locked())
            return _to_train(run, composed)

        if group.agreed(begin):
            device = torch.device(place.device)
            train_runs([run], composed, request, splits, device, place, report, group)


def train_group(request: Request, seeds: Sequence[int], place: Workplace, report: Report) -> None:
    """Train those of ``seeds`` that are not trained, side by side; those that have got equally far go together.

    Raises:
        RobenchError: whatever stops a group; finished epochs stay.
    """
    composed = compose(request)
    splits = fetching.splits(composed.plan.dataset, composed.dataset, place.data)
    device = torch.device(place.device)
    use(device)
    with ExitStack() as locked:
        groups: dict[tuple[int, int], list[Run]] = {}
        for run in (run_folder(composed, place.output, seed) for seed in seeds):
            locked.enter_context(run.locked())
            if _to_train(run, composed):
                file = run.folder / "state.pt"
                done = saving.reached(saving.read(file, torch.device("cpu"))) if saving.there(file) else (0, 0)
                groups.setdefault(done, []).append(run)
        for _, runs in sorted(groups.items(), reverse=True):
            train_runs(runs, composed, request, splits, device, place, report)
            for run in runs:
                _tidy(run)


def _to_train(run: Run, composed: Composed) -> bool:
    """Whether a seed is not trained; its plan is there afterwards."""
    if not (run.folder / "plan.json").exists():
        run.write("plan.json", to_plain(composed.plan))
    return not run.trained


def all_judged(run: Run, attacks: Sequence[str]) -> bool:
    """Whether every evaluation of a run at its own radii has a verdict that saw the seeds that are trained now."""
    if not attacks:
        return True
    plan = run.read("plan.json")
    own = [(plan[name]["kind"], plan[name]["eps"]) for name in ("claim", "threat")]
    made = [each for each in run.evaluations() if (each["norm"], each["eps"]) in own]
    wanted = [each for each in made if each["attack"] in attacks]
    return all(is_judged(each, run.siblings()) for each in wanted)


def judge_seed(request: Request, seed: int, evaluations: Evaluations, place: Workplace, report: Report) -> None:
    """Check how far a seed's evaluations can be believed, once all seeds are trained."""
    composed = compose(request)
    run = run_folder(composed, place.output, seed)
    device = torch.device(place.device)
    use(device)
    test = fetching.splits(composed.plan.dataset, composed.dataset, place.data).test
    with run.locked():
        evaluate_source(source_of(run), test, evaluations, device, report)


def _tidy(run: Run) -> None:
    """Remove what only an unfinished training needs, and what a killed process left half-written."""
    for left in UNFINISHED:
        (run.folder / left).unlink(missing_ok=True)
    for half in run.folder.glob(".*.partial"):
        half.unlink(missing_ok=True)
