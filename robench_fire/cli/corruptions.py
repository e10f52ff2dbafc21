"""corruptions: the command that shows weights the fifteen common corruptions."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.groups import FileOptions
from robench_fire.data.corruptions.names import KINDS, SEVERITIES
from robench_fire.errors import UsageError
from robench_fire.evaluation.corruptions.stored import FILES
from robench_fire.statistics.summary import mean_std

NOT_OFFICIAL = (
    "The images were made here, with CIFAR-10-C's strengths and without frost: not those of the official files, and "
    "not to be compared with RobustBench's figures."
)


def corruptions(
    source: Annotated[str, typer.Argument(help="A run folder, a checkpoint file, ARCH:FILE, or rb:NAME (the zoo).")],
    file: FileOptions,
    corruptions_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Files in CIFAR-10-C's layout. (default: the data folder's, else images made here)"
        ),
    ] = None,
    norm: Annotated[str, typer.Option(help="With rb:NAME: the threat model it was trained for.")] = "",
    examples: o.Examples = None,
    seed: Annotated[int, typer.Option(min=0, max=10**18, help="Seed of the images that are made here.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Test images at a time.")] = 500,
    time_limit: o.TimeLimit = "",
    device: o.Device = "auto",
    model_dir: Annotated[
        Path, typer.Option(envvar="ROBENCH_MODELS", help="Folder of RobustBench's checkpoints, for rb:NAME.")
    ] = Path("models"),
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Accuracy under 15 common corruptions at 5 severities; the same command again continues."""
    reading.limited(time_limit)
    if norm not in ("", "Linf", "L2"):
        raise UsageError(f"--norm {norm}: choose Linf or L2")
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.evaluation.corruptions import evaluate
    from robench_fire.launching.progress_display import listening, say

    found = file.named(source, norm, model_dir, data_dir, ("0",))  # no perturbation is sought
    asked = evaluate.Asked(folder=corruptions_dir, examples=examples, seed=seed, batch_size=batch_size)
    data = data_dir or data_folder()
    for note in (note for each in found for note in each.notes):
        say(note)
    facts = evaluate.evaluate_all(found, asked, data, resolve(device), listening)
    if json:
        print(jsonlib.dumps({"format": 1, "corruptions": [_without_masks(each) for each in facts]}, indent=2))
    else:
        _show(facts)


def _without_masks(facts: dict[str, Any]) -> dict[str, Any]:
    """What is read by eye: accuracies, and where they come from."""
    short = {name: {"accuracy": each["accuracy"]} for name, each in facts["corruptions"].items()}
    return facts | {"corruptions": short}


def _show(facts: Sequence[dict[str, Any]]) -> None:
    console = plain()
    console.print(_by_corruption(facts))
    console.print(_by_weights(facts))
    if facts[0]["source"] != FILES:
        console.print(NOT_OFFICIAL, highlight=False, soft_wrap=True)


def _by_corruption(facts: Sequence[dict[str, Any]]) -> Table:
    """A row per corruption, a column per severity: means over the weights."""
    of = f", mean of {len(facts)} weights" if len(facts) > 1 else ""
    title = f"accuracy in percent on {facts[0]['examples']:,} test images{of}"
    drawn = _table(
        title, "Corruption", *(f"Severity {each}" if each == 1 else str(each) for each in SEVERITIES), "Mean"
    )
    for names in KINDS.values():
        for name in names:
            if name in facts[0]["corruptions"]:
                own = [each["corruptions"][name]["accuracy"] for each in facts]
                means = [sum(values) / len(values) for values in zip(*own, strict=True)]
                over = mean_std([sum(values) / len(values) for values in own])
                drawn.add_row(name.replace("_", " "), *(f"{each:.2f}" for each in means), f"{over}")
        drawn.add_section()
    return drawn


def _by_weights(facts: Sequence[dict[str, Any]]) -> Table:
    """A row per weights: clean, by kind, and all."""
    drawn = _table("", "Weights", "Clean", *(kind.capitalize() for kind in KINDS), "All")
    values = [[each["clean"], *each["kinds"].values(), each["accuracy"]] for each in facts]
    for each, own in zip(facts, values, strict=True):
        drawn.add_row(each["weights"], *(f"{value:.2f}" for value in own))
    if len(facts) > 1 and len({Path(each["weights"]).parent for each in facts}) == 1:  # the seeds of one plan
        drawn.add_section()
        drawn.add_row("mean ± std", *(f"{mean_std(column)}" for column in zip(*values, strict=True)))
    return drawn


def _table(title: str, first: str, *others: str) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left", title_style="")
    drawn.add_column(first, overflow="fold")
    for name in others:
        drawn.add_column(name, justify="right", overflow="fold")
    return drawn
