"""plot: figures of runs and boards."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.errors import DataError, UsageError

if TYPE_CHECKING:
    from robench_fire.figures.source import Plan
    from robench_fire.figures.style import Drawn
    from robench_fire.runs.folders import Run


class Kind(str, Enum):
    """What is drawn, see docs/figures.md."""

    tradeoff = "tradeoff"
    cost = "cost"
    sweep = "sweep"
    curves = "curves"
    radius = "radius"
    transfer = "transfer"
    confusion = "confusion"
    gallery = "gallery"
    features = "features"


class Asked(NamedTuple):
    """What a figure is to be of."""

    sources: list[Path]
    only: list[str]
    where: list[str]
    published: bool
    eps: str
    data_dir: Path | None

    def plans(self, most: int, kind: Kind) -> list[Plan]:
        """The runs, of as many methods as there is room for."""
        from robench_fire.figures.source import few, plans

        return few(plans(self.sources, self.only, self.where), most, kind.value)


Output = Annotated[
    Path, typer.Option("--output", "-o", help="PNG, SVG or PDF; without suffix PNG and SVG. CSV beside.")
]
TAKES = {
    "--only or --where": set(Kind) - {Kind.transfer, Kind.features},
    "--published": {Kind.tradeoff},
    "--eps": {Kind.tradeoff, Kind.cost, Kind.sweep},
}  # fmt: skip
"""The kinds that have these options."""


def plot(
    kind: Annotated[Kind, typer.Argument(help="What to draw, see docs/figures.md.")],
    sources: Annotated[
        list[Path],
        typer.Argument(
            readable=False, help="Run folders or boards; JSON of `robench features`, of `robench transfer`."
        ),
    ],
    output: Output,
    only: o.Only = None,
    where: o.Where = None,
    published: Annotated[bool, typer.Option("--published", help="tradeoff: RobustBench's entries, in grey.")] = False,
    eps: Annotated[str, typer.Option(help="tradeoff, cost, sweep: claim this radius instead of the plan's.")] = "",
    data_dir: o.Data = None,
    force: o.Force = False,
) -> None:
    """Draw runs or a board: PNG and SVG, the data beside it as CSV, and a sentence that says what it shows."""
    from robench_fire.figures.style import save, targets

    asked = Asked(sources, reading.listed(only), where or [], published, eps, data_dir)
    _check(kind, asked)
    paths = targets(output, force)
    drawn = _drawn(kind, asked)
    save(drawn, paths)
    for path in paths:
        print(path)
    print(drawn.said)


def _check(kind: Kind, asked: Asked) -> None:
    given = {"--only or --where": asked.only or asked.where, "--published": asked.published, "--eps": asked.eps}
    for option, value in given.items():
        if value and kind not in TAKES[option]:
            raise UsageError(f"`plot {kind.value}` has no {option}: leave it out")
    for source in asked.sources:
        if not source.exists():
            raise DataError(f"{source} does not exist; `robench ls runs` lists the runs")


def _drawn(kind: Kind, asked: Asked) -> Drawn:
    if kind in (Kind.tradeoff, Kind.cost, Kind.sweep):
        return _of_rows(kind, asked)
    if kind is Kind.transfer:
        from robench_fire.figures import matrices

        return matrices.transfer(matrices.transfer_file(asked.sources))
    if kind is Kind.features:
        from robench_fire.figures import features

        return features.features(features.files(asked.sources))
    return _of_runs(kind, asked)


def _of_rows(kind: Kind, asked: Asked) -> Drawn:
    from robench_fire.figures import points, source
    from robench_fire.figures.sweep import sweep
    from robench_fire.tables.entries import beside

    found = source.entries(asked.sources, asked.only, asked.where, asked.eps)
    if kind is Kind.tradeoff:
        return points.tradeoff(found, beside(found) if asked.published else [])
    return points.cost(found) if kind is Kind.cost else sweep(found)


def _of_runs(kind: Kind, asked: Asked) -> Drawn:
    from robench_fire.data.fetching import data_folder
    from robench_fire.figures import curves, gallery, matrices, radius

    if kind is Kind.curves:
        return curves.curves(asked.plans(curves.MOST, kind))
    if kind is Kind.radius:
        return radius.radius(asked.plans(radius.MOST, kind))
    from robench_fire.evaluation.adversarial_images import predicted

    data = asked.data_dir or data_folder()
    if kind is Kind.gallery:
        (plan,) = asked.plans(1, kind)
        run = _trained(plan)[0]
        return gallery.gallery(plan, run.seed, predicted(run, data))
    plans = asked.plans(matrices.MOST, kind)
    return matrices.confusion([(plan, [predicted(run, data) for run in _trained(plan)]) for plan in plans])


def _trained(plan: Plan) -> list[Run]:
    if found := [run for run in plan.runs if run.trained]:
        return found
    raise DataError(f"no seed of {plan.name} is trained to the end; the same `robench train` command continues it")
