"""eval and transfer: the commands that attack weights."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.cli.common.groups import FileOptions
from robench_fire.errors import UnreliableError, UsageError
from robench_fire.runs.evaluations import ATTACKS
from robench_fire.statistics.summary import MeanStd, mean_std

if TYPE_CHECKING:
    from robench_fire.runs.model_source import ModelSource


def evaluate(
    source: Annotated[str, typer.Argument(help="A run folder, a checkpoint file, ARCH:FILE, or rb:NAME (the zoo).")],
    file: FileOptions,
    attack: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(ATTACKS)}.")] = "pgd20,aa",
    norm: Annotated[str, typer.Option(help="Linf or L2. (default: the run's)")] = "",
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
    wanted = {
        "attacks": o.attacks(attack, ATTACKS),
        "examples": examples, "seed": seed, "batch_size": batch_size, "norm": norm,
        "eps": o.radii(eps), "shard": o.shard(shard), "merge": merge, "jobs": jobs, "shuffled": shuffled,
    }  # fmt: skip
    named = partial(file.named, source, norm, model_dir, data_dir, o.radii(eps))
    facts = _evaluate_all(named, wanted, data_dir, device)
    if json:
        print(jsonlib.dumps({"format": 1, "evaluations": facts}, indent=2))
    else:
        _print(facts)
    if strict:
        _refuse_unreliable(facts)


def _check(norm: str, merge: bool, shard: str, time_limit: str) -> None:
    if norm not in ("", "Linf", "L2"):
        raise UsageError(f"--norm {norm}: choose Linf or L2")
    if merge and shard:
        raise UsageError("--merge joins finished shards; leave out --shard")
    o.limited(time_limit)


def _evaluate_all(
    named: Callable[[], list[ModelSource]], wanted: dict[str, Any], data_dir: Path | None, device: str
) -> list[dict[str, Any]]:
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.evaluation.evaluator import Evaluations
    from robench_fire.evaluation.resumable import evaluate_all
    from robench_fire.launching.progress_display import listening, say

    found = named()
    evaluations = Evaluations(**wanted)
    for note in (*(note for each in found for note in each.notes), *evaluations.doubts(found[0])):
        say(note)
    return evaluate_all(found, evaluations, data_dir or data_folder(), resolve(device), listening)


def _refuse_unreliable(facts: list[dict[str, Any]]) -> None:
    for each in facts:
        found = each.get("reliability", {})
        if found.get("verdict") == "unreliable":
            raise UnreliableError(f"{each['weights']}, {each['attack']}: unreliable; {'; '.join(found['reasons'])}")


def _print(facts: list[dict[str, Any]]) -> None:
    """One row per weights, a column per attack and radius, mean ± std below; then what the verdicts rest on."""
    console = Console()
    columns = list(dict.fromkeys((each["attack"], each["norm"], each["eps"]) for each in facts))
    weights = list(dict.fromkeys(each["weights"] for each in facts))
    at = {(each["weights"], (each["attack"], each["norm"], each["eps"])): each for each in facts}
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=_title(facts), title_justify="left", title_style="")
    drawn.add_column("Weights", overflow="fold")
    for name in ("Clean", *(f"{attack}\n{norm} {eps}" for attack, norm, eps in columns), "Verdict"):
        drawn.add_column(name, justify="left" if name == "Verdict" else "right")
    for path in weights:
        row = [at.get((path, column)) for column in columns]
        known = [each for each in row if each]
        cells = [f"{each['robust']:.2f}" if each else "–" for each in row]
        drawn.add_row(path, f"{known[0]['clean']:.2f}", *cells, _verdict(known))
    if len(weights) > 1 and len({Path(path).parent for path in weights}) == 1:  # the seeds of one plan
        over = [mean_std([at[path, column]["robust"] for path in weights]) for column in columns]
        clean = mean_std([at[path, columns[0]]["clean"] for path in weights])
        drawn.add_section()
        drawn.add_row("mean ± std", f"{clean}", *(f"{each}" for each in over), "")
    console.print(drawn)
    for each in facts:
        _print_reasons(console, each)


def _title(facts: list[dict[str, Any]]) -> str:
    images = sorted({each["examples"] for each in facts})
    shards = sorted({f"{each['shard'][0]}/{each['shard'][1]}" for each in facts if "shard" in each})
    part = f", shard {', '.join(shards)} only: join with --merge" if shards else ""
    return f"accuracy in percent on {' or '.join(f'{each:,}' for each in images)} test images{part}"


def _verdict(row: list[dict[str, Any]]) -> str:
    """Of the complete AutoAttacks of a row."""
    found = [
        each["reliability"]["verdict"] for each in row if each["attack"].startswith("aa") and "reliability" in each
    ]
    return ", ".join(dict.fromkeys(found))


def _print_reasons(console: Console, facts: dict[str, Any]) -> None:
    if missing := facts.get("images_missing"):
        said = (
            f"{len(missing)} parts of the perturbed images are missing, such as {missing[0]}: a submission needs them"
        )
        console.print(f"{facts['weights']}, {facts['attack']} {facts['eps']}: {said}", highlight=False, soft_wrap=True)
    found = facts.get("reliability", {"verdict": "reliable", "reasons": []})
    if found["verdict"] != "reliable" and facts["attack"].startswith("aa"):
        name = f"{facts['weights']}, {facts['attack']} {facts['eps']}: {found['verdict']}"
        console.print(
            "\n".join([name, *(f"  {reason}" for reason in found["reasons"])]), highlight=False, soft_wrap=True
        )


def transfer(
    folder: Annotated[Path, typer.Argument(help="Runs of one data set and norm, like runs/digits/Linf.")],
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

    sources = file.named(source, "", model_dir, data_dir)
    with listening(1, "features") as listen:
        say, folder = reporter("features", listen), data_dir or data_folder()
        found = run(sources, cast("Any", embedding), examples, seed, folder, resolve(device), say)
    if output is not None:
        write_json(output, found)
    if json:
        print(jsonlib.dumps(found, indent=2))
    else:
        _print_features(found)


def _print_features(found: dict[str, Any]) -> None:
    """A row per model, and their mean."""
    console, columns = Console(), ("moved", "separable_clean", "separable_perturbed")
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
    rows, console = found["transfer"], Console()
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
