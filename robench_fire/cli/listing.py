"""ls, show and rm: what there is, what it would be, and away with it."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.groups import RecipeOptions
from robench_fire.errors import DataError, UsageError, unknown

NAMED = 10
"""Parts of a setting's value that are shown."""
STATUS = 40
"""Columns for what is said of a run beside its path, which is never broken: it is there to be copied."""


def ls(
    what: Annotated[
        str, typer.Argument(help="defenses, groups, datasets, archs or runs; without it all but runs.")
    ] = "",
    output: o.Output = Path("runs"),
    only: o.Only = None,
    where: o.Where = None,
    json: o.Json = False,
) -> None:
    """List defenses, groups of them, data sets, architectures or runs."""
    choices = ("defenses", "groups", "datasets", "archs", "runs")
    if what and what not in choices:
        raise UsageError(unknown("list", what, choices))
    if (only or where) and what != "runs":
        raise UsageError("--only and --where choose among runs: `robench ls runs`")
    listed = {
        each: _listing(each, output, reading.listed(only), where or []) for each in ([what] if what else choices[:-1])
    }
    if json:
        print(jsonlib.dumps({"format": 1, **listed}, indent=2, ensure_ascii=False))
        return
    paths = max((len(name) for name in listed.get("runs", {})), default=0)
    console = plain(width=max(plain().width, paths + STATUS), soft_wrap=True)
    for title, entries in listed.items():
        console.print(title, style="bold")
        drawn = Table(show_header=False, box=None, pad_edge=False)
        drawn.add_column(no_wrap=True)
        for name, text in entries.items():
            drawn.add_row(name, text)
        console.print(drawn)
        if not entries:
            console.print(f"none under {output}")


def _listing(what: str, output: Path, only: list[str], where: list[str]) -> dict[str, str]:
    if what == "runs":
        from robench_fire.runs.filters import runs_with
        from robench_fire.runs.folders import find

        return {str(run.folder): run.status() for run in runs_with(find(output), only, where)}
    if what == "archs":
        from robench_fire.models.names import ARCHS

        return ARCHS
    from robench_fire.problem import registry

    if what == "groups":
        return {name: ", ".join(members) for name, members in registry.groups().items()}
    group: Any = what
    found = {name: registry.summary(group, name) for name in registry.names(group)}
    return found | (_own_images() if what == "datasets" else {})


def _own_images() -> dict[str, str]:
    """What is prepared of images of the user's own, with the beginning of its hash."""
    from robench_fire.data.fetching import data_folder
    from robench_fire.data.own.stored import prepared_in, summary

    return {f"{each['name']} ({each['sha256'][:16]})": summary(each) for each in prepared_in(data_folder())}


def rm(
    folders: Annotated[list[Path], typer.Argument(readable=False, help="Run folders, or folders that hold some.")],
    only: o.Only = None,
    where: o.Where = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs, after asking. Boards are never touched."""
    from robench_fire.quantity import scaled
    from robench_fire.runs.filters import runs_with
    from robench_fire.runs.folders import find
    from robench_fire.runs.removal import remove, size

    found: dict[Path, tuple[Any, Path]] = {}
    for folder in folders:
        runs = find(folder)
        if not runs:
            raise DataError(f"{folder} holds no run; `robench ls runs` lists them, and boards are not removed here")
        root = folder if len(runs) > 1 or runs[0].folder != folder else folder.parent
        found |= {run.folder.resolve(): (run, root) for run in runs}
    kept = runs_with([run for run, _ in found.values()], reading.listed(only), where or [])
    for run in kept:
        print(f"{run.folder}  {run.status()}")
    if not kept:
        raise UsageError("no run is of all that was asked for; ask for less")
    said = f"{len(kept)} run{'s' * (len(kept) > 1)}, {scaled(sum(map(size, kept)), 'B')}"
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{said}: say --yes where nobody can be asked")
        typer.confirm(f"remove {said}?", abort=True)
    for run in kept:
        remove(run, found[run.folder.resolve()][1])
    print(f"removed {said}")


def show(
    defense: o.Defense,
    dataset: o.Dataset,
    recipe: RecipeOptions,
    device: o.Device = "auto",
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Show the resolved recipe, where each value comes from, and what a seed costs on this machine."""
    from robench_fire.problem.plan import fingerprint
    from robench_fire.problem.settings import to_plain
    from robench_fire.runs.compose import compose

    composed = compose(recipe.request(defense, dataset, data_dir))
    from robench_fire.costs.estimate import estimate
    from robench_fire.costs.work import per_update
    from robench_fire.devices import determinism
    from robench_fire.devices.device import resolve
    from robench_fire.models.architectures import chosen_of_timm

    plan, place = composed.plan, resolve(device)
    with determinism.deterministic(determinism.wanted(None, place), place, determinism.threads()):
        seconds = estimate(composed, place)
    cost = {
        "fingerprint": fingerprint(plan),
        "forward_equivalents_per_update": per_update(plan.defense, plan.recipe),
        "training_seconds_per_seed": round(seconds, 1),
        "device": str(place),
        "timm": chosen_of_timm(plan.recipe.arch, composed.dataset.shape),
        "executes": _code_of_users(defense, dataset, plan.recipe.arch),
    }
    if json:
        values = [{"path": path, "value": value, "source": source} for path, value, source in composed.sources()]
        print(jsonlib.dumps({"format": 1, "plan": to_plain(plan), "values": values, **cost}, indent=2))
        return
    _print_plan(composed, cost)


def _code_of_users(defense: str, dataset: str, arch: str) -> list[str]:
    """What a user names that is executed."""
    from robench_fire.data.own.sources import FUNCTION
    from robench_fire.models.own import text

    named = {defense: defense.endswith(".py"), dataset: bool(FUNCTION.fullmatch(dataset)), arch: bool(text.read(arch))}
    return [each for each, is_code in named.items() if is_code]


def _print_plan(composed: Any, cost: dict[str, Any]) -> None:
    from robench_fire.quantity import duration

    paper, console = composed.paper, plain()
    console.print(f"{paper.method} on {composed.plan.dataset} ({composed.plan.profile} profile)", style="bold")
    said = ". ".join(text.rstrip(".") for text in (paper.title, paper.authors, paper.venue))
    console.print(f"{said}. {paper.link}", highlight=False)
    drawn = Table(box=None, pad_edge=False)
    for column in ("setting", "value", "source"):  # a name never breaks; what a line has left is the source's
        drawn.add_column(column, no_wrap=column == "setting", overflow="fold")
    for path, value, source in composed.sources():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, list) and len(value) > NAMED:  # the names of many classes
            shown = f"{', '.join(map(str, value[:NAMED]))} and {len(value) - NAMED:,} more"
        drawn.add_row(path, shown, Text(source, "dim"))
    console.print(drawn)
    if built := ", ".join(f"{name} {value}" for name, value in cost["timm"].items()):
        console.print(f"timm builds it with {built}, untrained")
    replayed = composed.plan.recipe.updates
    each = f"{cost['forward_equivalents_per_update']} forward-equivalents an update"
    console.print(f"plan {cost['fingerprint']}; {each}{f', {replayed} updates a batch' if replayed > 1 else ''}")
    if code := ", ".join(cost["executes"]):
        console.print(f"executes code that you name, which can do whatever you can: {code}", highlight=False)
    took = duration(cost["training_seconds_per_seed"])
    console.print(f"about {took} of training a seed on this machine's {cost['device']}, measured just now")
