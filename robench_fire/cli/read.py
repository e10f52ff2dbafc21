"""ls, show and table: the commands that only read."""

from __future__ import annotations

import json as jsonlib
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robench_fire.cli import options as o
from robench_fire.cli.groups import RecipeOptions
from robench_fire.errors import UsageError, unknown


class Format(str, Enum):
    """How a table is printed."""

    terminal = "terminal"
    html = "html"
    md = "md"
    latex = "latex"
    csv = "csv"
    json = "json"
    bibtex = "bibtex"


STATUS = 40
"""Columns for what is said of a run beside its path, which is never broken: it is there to be copied."""


def ls(
    what: Annotated[str, typer.Argument(help="defenses, datasets, archs or runs; all but runs without it.")] = "",
    output: o.Output = Path("runs"),
    json: o.Json = False,
) -> None:
    """List defenses, data sets, architectures or runs."""
    choices = ("defenses", "datasets", "archs", "runs")
    if what and what not in choices:
        raise UsageError(unknown("list", what, choices))
    listed = {each: _listing(each, output) for each in ([what] if what else choices[:3])}
    if json:
        print(jsonlib.dumps({"format": 1, **listed}, indent=2, ensure_ascii=False))
        return
    paths = max((len(name) for name in listed.get("runs", {})), default=0)
    console = Console(width=max(Console().width, paths + STATUS), soft_wrap=True)
    for title, entries in listed.items():
        console.print(f"[bold]{title}[/bold]")
        drawn = Table(show_header=False, box=None, pad_edge=False)
        drawn.add_column(no_wrap=True)
        for name, text in entries.items():
            drawn.add_row(name, text)
        console.print(drawn)
        if not entries:
            console.print(f"none under {output}")


def _listing(what: str, output: Path) -> dict[str, str]:
    if what == "runs":
        from robench_fire.runs.folders import find

        return {str(run.folder): run.status() for run in find(output)}
    if what == "archs":
        from robench_fire.models.names import ARCHS

        return ARCHS
    from robench_fire.problem import registry

    group: Any = what
    return {name: registry.summary(group, name) for name in registry.names(group)}


def show(
    defense: o.Defense,
    dataset: o.Dataset,
    recipe: RecipeOptions,
    device: o.Device = "auto",
    json: o.Json = False,
) -> None:
    """Show the resolved recipe, where each value comes from, and what a seed costs on this machine."""
    from robench_fire.problem.plan import fingerprint
    from robench_fire.problem.settings import to_plain
    from robench_fire.runs.compose import compose

    composed = compose(recipe.request(defense, dataset))
    from robench_fire.costs.estimate import estimate
    from robench_fire.costs.work import work
    from robench_fire.devices.device import resolve
    from robench_fire.models.architectures import chosen_of_timm

    plan = composed.plan
    cost = {
        "fingerprint": fingerprint(plan),
        "forward_equivalents_per_update": work(plan.defense, plan.recipe).forward_equivalents,
        "training_seconds_per_seed": round(estimate(composed, resolve(device)), 1),
        "device": str(resolve(device)),
        "timm": chosen_of_timm(plan.recipe.arch, composed.dataset.shape),
    }
    if json:
        values = [{"path": path, "value": value, "source": source} for path, value, source in composed.sources()]
        print(jsonlib.dumps({"format": 1, "plan": to_plain(plan), "values": values, **cost}, indent=2))
        return
    _print_plan(composed, cost)


def _print_plan(composed: Any, cost: dict[str, Any]) -> None:
    from robench_fire.quantity import duration

    paper, console = composed.paper, Console()
    console.print(f"[bold]{paper.method}[/bold] on {composed.plan.dataset} ({composed.plan.profile} profile)")
    said = ". ".join(text.rstrip(".") for text in (paper.title, paper.authors, paper.venue))
    console.print(f"{said}. {paper.link}", highlight=False, markup=False)
    drawn = Table(box=None, pad_edge=False)
    for column in ("setting", "value", "source"):  # a name never breaks; what a line has left is the source's
        drawn.add_column(column, no_wrap=column == "setting", overflow="fold")
    for path, value, source in composed.sources():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        drawn.add_row(path, shown, f"[dim]{source}[/dim]")
    console.print(drawn)
    if built := ", ".join(f"{name} {value}" for name, value in cost["timm"].items()):
        console.print(f"timm builds it with {built}, untrained")
    console.print(f"plan {cost['fingerprint']}; {cost['forward_equivalents_per_update']} forward-equivalents an update")
    took = duration(cost["training_seconds_per_seed"])
    console.print(f"about {took} of training a seed on this machine's {cost['device']}, measured just now")


def table(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders, boards, evaluated weights of RobustBench's. (default: --output)"),
    ] = None,
    output: o.Output = Path("runs"),
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.terminal,
    paper: Annotated[bool, typer.Option("--paper", help="Columns with what the paper and RobustBench report.")] = False,
    published: Annotated[bool, typer.Option("--published", help="Rows of RobustBench's board, and our rank.")] = False,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER", help="With --published, and from now on: figures of a newer RobustBench model_info."
        ),
    ] = None,
    cost: Annotated[
        bool, typer.Option("--cost", help="What a seed cost (time, FLOPs, energy), not how it was trained.")
    ] = False,
    attacks: Annotated[bool, typer.Option("--attacks", help="What each attack by itself leaves.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Every column, however narrow the terminal is.")] = False,
    eps: Annotated[str, typer.Option(help="Claim this radius instead of the plan's, like 0.031.")] = "",
    publish: Annotated[Path | None, typer.Option(help="Also write our rows to this board (leaderboards).")] = None,
    json: o.Json = False,
) -> None:
    """Print mean ± std over seeds in RobustBench's columns, one row per plan."""
    from robench_fire.tables import entries, render

    if json and format_ not in (Format.terminal, Format.json):
        raise UsageError(f"--json and --format {format_.value}: choose one")
    if cost and attacks:
        raise UsageError("--cost and --attacks: each takes the place of other columns; choose one")
    _update(update, published)
    found = entries.entries_in(sources or [output], eps)
    render.show(found, "json" if json else format_.value, Console(), paper, published, cost, wide, attacks)
    if publish is not None:
        rows = [each.row for each in found if each.row]
        if not rows:
            raise UsageError("--publish writes rows of ours; there is none here, only published weights")
        for path in render.publish(rows, publish):
            print(path, file=sys.stderr)


def _update(source: Path | None, asked: bool) -> None:
    from robench_fire.tables import published_rows

    if source is None:
        return
    if not asked:
        raise UsageError("--update brings figures for --published; add it")
    brought, kept = len(published_rows.update(source)), published_rows.kept()
    print(f"{brought} published figures are now in {kept}; without it, the package's are used", file=sys.stderr)
