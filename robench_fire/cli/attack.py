"""eval and transfer: the commands that attack weights."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich import box
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.groups import FileOptions
from robench_fire.cli.evaluated import show
from robench_fire.errors import UnreliableError, UsageError
from robench_fire.evaluation.own_attacks import worst_case
from robench_fire.runs.evaluations import ATTACKS
from robench_fire.statistics.summary import MeanStd

if TYPE_CHECKING:
    from robench_fire.runs.model_source import ModelSource


OFFERED = f"{', '.join(ATTACKS)}; your own, ./FILE.py:FUNCTION"


def evaluate(
    source: Annotated[str, typer.Argument(help="A run folder, a checkpoint file, ARCH:FILE, or rb:NAME (the zoo).")],
    file: FileOptions,
    attack: Annotated[str, typer.Option(help=f"Comma-separated: {OFFERED}.")] = "pgd20,aa",
    norm: Annotated[str, typer.Option(help="Linf, L2, or Linf,L2 with a radius for each. (default: the run's)")] = "",
    eps: Annotated[str, typer.Option(help="Radius, or several: 8/255,0.031. (default: claimed and trained)")] = "",
    examples: o.Examples = None,
    seed: o.EvalSeed = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Test images attacked at a time.")] = 500,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only the i-th of n parts; join them with --merge.")] = "",
    merge: Annotated[bool, typer.Option("--merge", help="Join the shards beside the weights.")] = False,
    shuffled: o.Shuffled = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 6 if a result is unreliable.")] = False,
    time_limit: o.TimeLimit = "",
    device: o.Device = "auto",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Processes that share the batches; 0: what suits here.")
    ] = 0,
    model_dir: Annotated[
        Path, typer.Option(envvar="ROBENCH_MODELS", help="Folder of RobustBench's checkpoints, for rb:NAME.")
    ] = Path("models"),
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Attack weights and judge the result; masks and a log are stored beside them. The same command again continues."""
    _check(norm, merge, shard, time_limit)
    wanted = _attacks(attack) | {
        "examples": examples, "seed": seed, "batch_size": batch_size, "norm": norm.replace(" ", ""),
        "eps": tuple(reading.listed([eps])) if "," in norm else reading.radii(eps),
        "shard": reading.shard(shard), "merge": merge, "jobs": jobs, "shuffled": shuffled,
    }  # fmt: skip
    named = partial(file.named, source, norm.partition(",")[0], model_dir, data_dir, wanted["eps"])
    facts, together = _evaluate_all(named, wanted, data_dir, device)
    if json:
        print(jsonlib.dumps({"format": 1, "evaluations": facts} | together, indent=2))
    else:
        show(facts, together)
    if strict:
        _refuse_unreliable(facts)


def _attacks(text: str) -> dict[str, Any]:
    """Evaluations of ours by name, and the texts of those that are the user's own."""
    ours, own = reading.own_attacks(text)
    return {"attacks": reading.attacks(ours, ATTACKS) if ours or not own else (), "own": own}


def _check(norm: str, merge: bool, shard: str, time_limit: str) -> None:
    if norm and not set(norm.replace(" ", "").split(",")) <= {"Linf", "L2"}:
        raise UsageError(f"--norm {norm}: choose Linf or L2, or Linf,L2 with a radius for each in --eps")
    if merge and shard:
        raise UsageError("--merge joins finished shards; leave out --shard")
    reading.limited(time_limit)


def _evaluate_all(
    named: Callable[[], list[ModelSource]], wanted: dict[str, Any], data_dir: Path | None, device: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The facts of every evaluation, and what several together leave, see worst_case.together."""
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.evaluation.evaluator import Evaluations
    from robench_fire.evaluation.own_attacks.attack import named as own_attack
    from robench_fire.evaluation.resumable import evaluate_all
    from robench_fire.launching.progress_display import listening, say

    wanted["own"] = tuple(own_attack(each) for each in wanted["own"])
    found = named()
    evaluations = Evaluations(**wanted)
    for note in (*(note for each in found for note in each.notes), *evaluations.doubts(found[0])):
        say(note)
    facts = evaluate_all(found, evaluations, data_dir or data_folder(), resolve(device), listening)
    stems = {str(each.run.folder if each.run else each.weights): each.stem for each in found}
    return facts, worst_case.together(facts, stems)


def _refuse_unreliable(facts: list[dict[str, Any]]) -> None:
    for each in facts:
        found = each.get("reliability", {})
        if found.get("verdict") == "unreliable":
            raise UnreliableError(f"{each['weights']}, {each['attack']}: unreliable; {'; '.join(found['reasons'])}")


def transfer(
    folder: Annotated[
        Path, typer.Argument(readable=False, help="Runs of one data set and norm, like runs/digits/Linf.")
    ],
    examples: o.Examples = None,
    seed: o.EvalSeed = 0,
    device: o.Device = "auto",
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Black-box robustness: every defense attacked with images that PGD-20 perturbed on every other one."""
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.evaluation.transfer import transfer as run
    from robench_fire.launching.progress_display import listening

    found = run(folder, examples, seed, data_dir or data_folder(), resolve(device), listening)
    if json:
        print(jsonlib.dumps(found, indent=2))
    else:
        _print_transfer(found)


def features(
    source: Annotated[str, typer.Argument(help="A run folder, a checkpoint file, ARCH:FILE, or rb:NAME (the zoo).")],
    file: FileOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write everything, with the embedding, to this JSON.")
    ] = None,
    embedding: Annotated[str, typer.Option(help="Two dimensions by pca or tsne.")] = "pca",
    norm: Annotated[str, typer.Option(help="With rb:NAME: the threat model it was trained for.")] = "",
    eps: Annotated[str, typer.Option(help="Radius of PGD-20. (default: the claimed one)")] = "",
    examples: o.Examples = None,
    seed: o.EvalSeed = 0,
    device: o.Device = "auto",
    model_dir: Annotated[
        Path, typer.Option(envvar="ROBENCH_MODELS", help="Folder of RobustBench's checkpoints, for rb:NAME.")
    ] = Path("models"),
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """What a network's features are like: how far PGD-20 moves them, how separable classes are in them."""
    if embedding not in ("pca", "tsne"):
        raise UsageError(f"--embedding {embedding}: choose pca or tsne")
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.evaluation.features import features as run
    from robench_fire.files import write_json
    from robench_fire.launching.local import reporter
    from robench_fire.launching.progress_display import listening

    sources = _at(file.named(source, norm, model_dir, data_dir, (eps,) if eps else ()), eps)
    with listening(1, "features") as listen:
        say, folder = reporter("features", listen), data_dir or data_folder()
        found = run(sources, cast("Any", embedding), examples, seed, folder, resolve(device), say)
    if output is not None:
        write_json(output, found)
    if json:
        print(jsonlib.dumps(found, indent=2))
    else:
        _print_features(found)


def _at(sources: list[ModelSource], eps: str) -> list[ModelSource]:
    """The same, claimed at another radius if one is given."""
    from robench_fire.data.own.dataset import radius
    from robench_fire.problem.threat import THREATS

    if not eps:
        return sources
    return [replace(each, claim=THREATS[each.claim.norm](eps=radius(eps, each.claim.norm))) for each in sources]


def _print_features(found: dict[str, Any]) -> None:
    """A row per model, and their mean."""
    console, columns = plain(), ("moved", "separable_clean", "separable_perturbed")
    title = f"features under PGD-20, {found['norm']} {found['eps']}, {found['models'][0]['examples']:,} test images"
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="")
    drawn.add_column("Weights", overflow="fold")
    for name in ("Moved", "Linear probe,\nclean", "Linear probe,\nperturbed"):
        drawn.add_column(name, justify="right")
    for each in found["models"]:
        drawn.add_row(each["name"], f"{each['moved']:.3f}", *(f"{each[name]:.2f}" for name in columns[1:]))
    if len(found["models"]) > 1:
        drawn.add_section()
        moved, *rest = (MeanStd(**found["mean"][name]) for name in columns)
        drawn.add_row("mean ± std", f"{moved:.3f}", *(f"{each}" for each in rest))
    console.print(drawn)
    console.print("Moved: how far perturbation moves features, in units of the spread of clean ones.", style="dim")


def _print_transfer(found: dict[str, Any]) -> None:
    """A row per source, a column per target; below, the attacks that need no source."""
    rows, console = found["transfer"], plain()
    title = f"robust accuracy in percent, {found['norm']} {found['eps']}, {found['examples']:,} test images"
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="")
    drawn.add_column("perturbed on", no_wrap=True)
    for target in rows:
        drawn.add_column(target.replace("-", "-\n"), justify="right")
    between = "\n± " if console.width < 16 + 12 * len(rows) else " ± "
    for source, row in rows.items():
        drawn.add_row(source, *(_summary(each, between) for each in row.values()))
    drawn.add_section()
    for name, label in (("square", "Square alone"), ("aa", "AutoAttack")):
        drawn.add_row(label, *(_summary(each, between) for each in found["alone"][name].values()))
    console.print(drawn)
    if not all(found["alone"]["square"].values()):
        console.print("Square alone is missing: `robench eval RUNS --attack square` makes it", highlight=False)


def _summary(found: dict[str, Any] | None, between: str) -> str:
    if found is None:
        return "–"
    return f"{found['mean']:.1f}" + ("" if found["std"] is None else f"{between}{found['std']:.1f}")
