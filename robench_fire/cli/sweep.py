"""sweep: a grid over settings, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.groups import EvaluationOptions, PlaceOptions, RecipeOptions
from robench_fire.cli.measure import requested
from robench_fire.errors import raise_failed

if TYPE_CHECKING:
    from robench_fire.boards.rows import Row
    from robench_fire.boards.sweeps import Point
    from robench_fire.errors import RobenchError
    from robench_fire.evaluation.evaluator import Evaluations
    from robench_fire.runs.compose import Composed, Request
    from robench_fire.runs.grid import GridPoint


class Select(str, Enum):
    """Accuracy on the validation images by which a setting is chosen; robust: under the training attack."""

    clean = "clean"
    robust = "robust"
    average = "average"


def sweep(
    defenses: Annotated[str, typer.Argument(help="Comma-separated names, files or groups.")],
    dataset: o.Dataset,
    *,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over", metavar="PATH=V1,V2,...",
            help="Values of a setting of `robench show`, like defense.lam=1,2,4; several --over are a grid.",
        ),
    ] = None,
    select: Annotated[
        Select | None,
        typer.Option(help="Evaluate only the setting of each defense that is best on validation images."),
    ] = None,
    seeds: o.Seeds = "",
    seed: o.Seed = None,
    recipe: RecipeOptions,
    evaluation: EvaluationOptions,
    place: PlaceOptions,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Train and evaluate defenses at every combination of settings, and print one table with the settings as columns.

    The same command again resumes. Selection is on validation images alone, never on test images.
    """
    evaluations, numbers, measure = evaluation.read(), reading.seeds(seeds, seed), select.value if select else ""
    place.check()
    from robench_fire.launching.progress_display import say
    from robench_fire.runs.grid import axes, grid, renamed

    along = axes(over or [])
    points = grid(requested(defenses, dataset, recipe, place.data_dir), along)
    for note in (notes := renamed(points, along)):
        say(note)
    found, failed = _run(points, numbers, evaluations, place, measure)
    _show(found, points[0].composed, numbers, measure, notes, json)
    if not failed and not measure and not any(point.row for point in found):
        say(f"trained, not evaluated; the weights lie under {place.output}")
    raise_failed(failed, len(points) * len(numbers))


def _run(
    points: Sequence[GridPoint], seeds: Sequence[int], evaluations: Evaluations, place: PlaceOptions, measure: str
) -> tuple[list[Point], dict[str, RobenchError]]:
    from robench_fire.launching.bench import bench
    from robench_fire.launching.progress_display import listening, say
    from robench_fire.launching.sweep import sweep as run

    here, cluster = place.here(), place.there()

    def benched(requests: Sequence[Request], wanted: Evaluations) -> tuple[list[Row], dict[str, RobenchError]]:
        return bench(requests, seeds, wanted, here, place.jobs, listening, say, place.together, cluster)

    return run(points, seeds, evaluations, here, benched, say, measure)


def _show(
    points: Sequence[Point], first: Composed, seeds: Sequence[int], measure: str, notes: Sequence[str], json: bool
) -> None:
    from robench_fire.boards.sweeps import Sweep
    from robench_fire.tables.swept import as_json, swept_tables
    from robench_fire.tables.terminal import draw

    plan = first.plan
    made = Sweep(
        dataset=plan.dataset, norm=plan.claim.norm, eps=str(plan.claim.eps), seeds=tuple(seeds), select=measure,
        images=first.dataset.validation, points=tuple(points), notes=tuple(notes),
    )  # fmt: skip
    if json:
        print(as_json(made))
    elif measure or any(point.row for point in points):
        for table in swept_tables(made):
            draw(table, plain())
