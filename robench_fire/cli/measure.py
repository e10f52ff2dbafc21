"""train and bench: the commands that train."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robench_fire import stopping
from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.groups import EvaluationOptions, PlaceOptions, RecipeOptions
from robench_fire.devices import torchrun
from robench_fire.errors import GivenWeightsError, UsageError, raise_failed
from robench_fire.runs.folders import find

FIRE_TABLE = "madry,trades,mart,self_adaptive,rst_adv,fire,fire_sa"  # what FIRE's tables compare, less what is given

if TYPE_CHECKING:
    from robench_fire.evaluation.evaluator import Evaluations
    from robench_fire.runs.compose import Request


def train(
    defense: o.Defense,
    dataset: o.Dataset,
    *,
    seeds: o.Seeds = "",
    seed: o.Seed = None,
    recipe: RecipeOptions,
    evaluation: EvaluationOptions,
    place: PlaceOptions,
) -> None:
    """Train a defense over its seeds, evaluate each, and print the row. The same command again resumes."""
    _run([recipe.request(defense, dataset, place.data_dir)], reading.seeds(seeds, seed), evaluation, place)


def bench(
    dataset: o.Dataset,
    *,
    defenses: Annotated[str, typer.Option(help="Comma-separated names, files or groups, or all.")] = FIRE_TABLE,
    seeds: o.Seeds = "",
    seed: o.Seed = None,
    recipe: RecipeOptions,
    evaluation: EvaluationOptions,
    place: PlaceOptions,
) -> None:
    """Train and evaluate defenses on a data set over its seeds, and print the table.

    --start and --teacher go to those that need them; of a group, those that need one that is not given are left out.
    """
    _run(requested(defenses, dataset, recipe, place.data_dir), reading.seeds(seeds, seed), evaluation, place)


def requested(defenses: str, dataset: str, recipe: RecipeOptions, data_dir: Path | None = None) -> list[Request]:
    """What is asked for of each of several defenses; ``defenses``: names, files or groups, comma-separated, or "all".

    Raises:
        UsageError: if none is named or can be run, or weights are given that none needs.
        GivenWeightsError: where a defense that is named, not only of a group, lacks weights.
    """
    named, chosen = _chosen(defenses)
    if not chosen:
        raise UsageError("no defense is named; say some, like fire,trades")
    asked = recipe.requests(chosen, dataset, data_dir)
    if len(chosen) == 1 and named:  # as `train` has it
        return asked
    found = [each for each in (_given(each, each.defense in named) for each in asked) if each is not None]
    if not found:
        raise UsageError(f"{defenses}: all of them lack weights; give --start or --teacher")
    for flag, text in asked[0].given_weights:
        if not any(flag in dict(each.given_weights) for each in found):
            raise UsageError(f"{flag} {text}: none of {defenses} needs it; leave it out, or train one alone with it")
    return found


def _chosen(defenses: str) -> tuple[list[str], list[str]]:
    """The names and files in a list, and those with the members of its groups, each once however often it is meant."""
    from robench_fire.problem import registry

    words = [each.strip() for each in defenses.split(",") if each.strip()]
    known = {**registry.groups(), "all": list(registry.names("defenses"))}
    named = [each for each in words if registry.canonical(each) not in known]
    taken, chosen = {*map(registry.canonical, named)}, []
    for each in words:
        members = known.get(registry.canonical(each))
        chosen += [each] if members is None else [name for name in members if name not in taken]
        taken |= {*(members or ())}
    return named, chosen


def _given(request: Request, named: bool) -> Request | None:
    """The request without those weights that its defense does not need; None where it lacks some and is not ``named``.

    Raises:
        GivenWeightsError: where it lacks some and may not be left out.
    """
    from robench_fire.launching.progress_display import say
    from robench_fire.runs.compose import compose

    bare = replace(request, start="", teacher="")
    for each in (bare, replace(bare, start=request.start), replace(bare, teacher=request.teacher), request):
        try:
            compose(each)
            return each
        except GivenWeightsError as fault:
            lacks = fault
    if named:
        raise lacks
    say(f"left out: {lacks}")
    return None


def _run(requests: list[Request], numbers: list[int], evaluation: EvaluationOptions, place: PlaceOptions) -> None:
    evaluations = evaluation.read()
    with _kept_or_said(place.output, numbers):
        place.check()
        _made(requests, numbers, evaluations, place)


def _made(requests: list[Request], numbers: list[int], evaluations: Evaluations, place: PlaceOptions) -> None:
    from robench_fire.launching import distributed
    from robench_fire.launching.bench import bench as alone
    from robench_fire.launching.progress_display import listening, say
    from robench_fire.tables import render
    from robench_fire.tables.entries import of_row, told_apart

    if (task := os.environ.get("SLURM_ARRAY_TASK_ID", "")) == str(len(numbers)) and numbers == [*range(len(numbers))]:
        trained = f"seeds 0 to {numbers[-1]}" if len(numbers) > 1 else "seed 0 alone"
        say(f"this trains {trained}; if it is one task of a job array, --seed {task} trains seed {task} alone")
    here, cluster = place.here(), place.there()
    run = distributed.bench if torchrun.count() > 1 else partial(alone, together=place.together, cluster=cluster)
    rows, failed = run(requests, numbers, evaluations, here, place.jobs, listening, say)
    if rows:
        render.show(told_apart([of_row(row) for row in rows]), "terminal", plain())
    elif not failed:
        say(f"trained, not evaluated; the weights lie under {place.output}")
    raise_failed(failed, len(requests) * len(numbers))


@contextmanager
def _kept_or_said(output: Path, numbers: list[int]) -> Iterator[None]:
    """A stop before any of these runs got further says so: a job that is queued again would never end.

    Not Ctrl-C, which no queue sends.

    Raises:
        InVain: in the place of Stopped.
    """
    before = _progress(output, numbers)
    try:
        yield
    except stopping.Stopped as stopped:
        if stopped.args[0] != signal.SIGINT and _progress(output, numbers) == before:
            raise stopping.InVain(stopped.args[0], "anything new was kept") from None
        raise


def _progress(output: Path, seeds: Sequence[int]) -> set[tuple[Path, int]]:
    return set().union(*(run.progress() for run in find(output) if run.seed in seeds))
