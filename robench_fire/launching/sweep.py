"""A grid of settings through the launchers of bench, and what its validation images select."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from robench_fire.boards.rows import Row
from robench_fire.boards.sweeps import Point, said_setting, selected
from robench_fire.errors import DivergedError, RecipeError, RobenchError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.bench import Say, check_evaluations, name_of
from robench_fire.launching.seed import run_folder
from robench_fire.launching.training_stage import Workplace
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import to_plain
from robench_fire.runs.compose import Request
from robench_fire.runs.grid import GridPoint

ATTACK = ("threat.", "recipe.attack.")  # settings of the training attack, which validation uses
Errors = dict[str, RobenchError]
Run = Callable[[Sequence[Request], Evaluations], tuple[list[Row], Errors]]
"""bench.bench with everything but what is trained and how it is evaluated."""


def sweep(
    points: Sequence[GridPoint], seeds: Sequence[int], evaluations: Evaluations, place: Workplace, run: Run, say: Say,
    select: str = "",
) -> tuple[list[Point], Errors]:  # fmt: skip
    """Train every point and evaluate it on the test images, or with ``select`` only those that validation chooses.

    Returns:
        The points in their order, and the errors by run.

    Raises:
        UsageError, RecipeError: also for a ``select`` by accuracies that are not measured.
    """
    check_evaluations([point.composed for point in points], evaluations)
    check_selection(points, select)
    _announce(points, seeds, say)
    requests = [point.request for point in points]
    if not select:
        rows, failed = run(requests, evaluations)
        return _reached(points, seeds, place, rows, failed), failed
    _, failed = run(requests, replace(evaluations, attacks=()))
    found = _reached(points, seeds, place, [], failed)
    if not all(isinstance(fault, DivergedError) for fault in failed.values()):
        say("nothing is selected before every setting is trained; the same command continues")
        return found, failed
    found = selected(found, seeds, select)
    chosen = [request for request, point in zip(requests, found, strict=True) if point.selected]
    if not (chosen and evaluations.attacks):
        return found, failed
    say(f"selected on validation images: {', '.join(map(_said, filter(lambda point: point.selected, found)))}")
    rows, more = run(chosen, evaluations)
    made = _reached(points, seeds, place, rows, failed | more)
    return [replace(each, selected=was.selected) for each, was in zip(made, found, strict=True)], failed | more


def check_selection(points: Sequence[GridPoint], select: str) -> None:
    """Whether validation images can select by ``select``.

    Raises:
        UsageError: if the data set holds none out, or the points would be attacked differently on them.
        RecipeError: if a training has no attack that they could be attacked with.
    """
    if select and not points[0].composed.dataset.validation:
        name = points[0].composed.plan.dataset
        raise UsageError(f"--select {select}: {name} holds out no validation images; leave it out")
    for point in points if select in ("robust", "average") else ():
        if attacked := [path for path in point.values if path.startswith(ATTACK)]:
            said = f"each value of {attacked[0]} attacks the validation images in its own way, and they do not compare"
            raise UsageError(f"--select {select}: {said}; use --select clean, or leave it out")
        if point.composed.plan.recipe.attack is None:
            name, fix = point.composed.plan.name, "use --select clean, or leave the defense out"
            raise RecipeError(f"--select {select}: {name} trains without an attack, which validation would use; {fix}")


def _announce(points: Sequence[GridPoint], seeds: Sequence[int], say: Say) -> None:
    plans, each = len(points), f" x {len(seeds)} seed{'s' * (len(seeds) > 1)}"
    say(f"sweep: {plans} setting{'s' * (plans > 1)}{each} = {plans * len(seeds)} runs")


def _reached(
    points: Sequence[GridPoint], seeds: Sequence[int], place: Workplace, rows: Sequence[Row], failed: Errors
) -> list[Point]:
    """What every point has come to."""
    by_plan = {row.fingerprint: row for row in rows}
    found = []
    for request, composed, values in points:
        runs = {seed: run_folder(composed, place.output, seed) for seed in seeds}
        name = name_of(request, composed)
        faults = {seed: str(failed[key]) for seed in seeds if (key := f"{name} seed {seed}") in failed}
        plan = fingerprint(composed.plan)
        found.append(
            Point(
                defense=composed.plan.name, method=composed.paper.method, fingerprint=plan,
                settings={path: to_plain(value) for path, value in values.items()},
                validation={seed: own.validation() for seed, own in runs.items() if own.trained},
                failed=faults, row=by_plan.get(plan),
            )
        )  # fmt: skip
    return found


def _said(point: Point) -> str:
    settings = (f"{path.rpartition('.')[2]}={said_setting(value)}" for path, value in point.settings.items())
    return " ".join([point.method, *settings])
