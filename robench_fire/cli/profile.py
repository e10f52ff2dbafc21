"""profile: where a training's time goes on this machine."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.groups import RecipeOptions
from robench_fire.quantity import digits, duration, scaled
from robench_fire.runs.folders import SEEDS

if TYPE_CHECKING:
    from robench_fire.runs.compose import Request


def profile(
    defense: o.Defense,
    dataset: o.Dataset,
    recipe: RecipeOptions,
    compiling: o.Compile = None,
    device: o.Device = "auto",
    trace: Annotated[Path | None, typer.Option(help="Also write a Chrome trace of two steps to this file.")] = None,
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Train a few steps and show where their time goes; a minute or less, but for compilation.

    Nothing is written but the trace.
    """
    asked = recipe.request(defense, dataset, data_dir)
    found = _profiled(asked, device, compiling, trace, data_dir)
    if json:
        print(jsonlib.dumps({"format": 1, **found}, indent=2))
    else:
        _print(found)


def _profiled(
    asked: Request, device: str, compiling: bool | None, trace: Path | None, data_dir: Path | None
) -> dict[str, Any]:
    from robench_fire.costs.profile import profile as run
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices import determinism
    from robench_fire.devices.device import resolve
    from robench_fire.launching.progress_display import listening
    from robench_fire.progress import Event
    from robench_fire.runs.compose import compose

    composed, name, chosen = compose(asked), f"{asked.defense} {asked.dataset}", resolve(device)
    as_trained = determinism.deterministic(determinism.wanted(None, chosen), chosen, determinism.threads())
    with as_trained, listening(1, name) as listen:
        return run(
            composed, data_dir or data_folder(), chosen,
            lambda stage, done, total, note: listen(Event(name, stage, done, total, note)),
            trace, chosen.type == "cuda" if compiling is None else compiling,
        )  # fmt: skip


def _print(found: dict[str, Any]) -> None:
    console = plain()
    steps = "1 step" if found["steps"] == 1 else f"{found['steps']} steps"
    where = f"{found['arch']}: {steps} of {found['batch_size']} images, {found['device']}"
    console.print(f"{found['defense']} on {found['dataset']}, {where}", style="bold", highlight=False)
    parts = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    parts.add_column("part of a step")
    parts.add_column("ms", justify="right")
    parts.add_column("%", justify="right")
    whole = found["step_seconds"]
    for name, seconds in found["sections"].items():
        parts.add_row(name, digits(1000 * seconds), f"{100 * seconds / whole:.1f}")
    parts.add_row("step", digits(1000 * whole), "100.0", style="bold")
    console.print(parts)
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, text in _facts(found).items():
        facts.add_row(name, text)
    console.print(facts, highlight=False)
    for note in _notes(found):
        console.print(note, highlight=False, soft_wrap=True)


def _facts(found: dict[str, Any]) -> dict[str, str]:
    formats, of = found["arithmetic"], found["peak_memory_of"]
    kinds = dict.fromkeys([formats["update"], formats["attack"], formats["first"]])
    compiled = ", compiled" if formats["compiled"] == "True" else ""
    one, several = (duration(found["training_seconds"][count]) for count in ("1", str(SEEDS)))
    return {
        "images per second": digits(found["images_per_second"]),
        "warm-up": f"{digits(found['warm_up_seconds'])} s for the first step",
        "forward-equivalents": f"{found['forward_equivalents']} an update",
        "FLOPs": f"{scaled(found['flops_per_update'], 'FLOP')} an update of {found['recipe_batch_size']} images",
        "achieved": f"{scaled(found['flops_per_second'], 'FLOP/s')} in {', '.join(kinds)}{compiled}",
        "matrix products": f"{scaled(found['matmul_flops_per_second'], 'FLOP/s')} in {formats['update']}",
        "MFU": f"{100 * found['mfu']:.1f} %" if found["mfu"] else "–",
        "peak memory": f"{scaled(found['peak_memory_bytes'] or 0, 'B')} of the {of}",
        "the whole recipe": f"about {one} a seed, {several} for {SEEDS} ({found['epochs']} epochs; no evaluation)",
    }


def _notes(found: dict[str, Any]) -> list[str]:
    notes = []
    if found["batch_size"] != found["recipe_batch_size"]:
        notes.append(f"The recipe's batches of {found['recipe_batch_size']} would take too long here.")
    if not found["real_images"]:
        notes.append(
            f"On random images: {found['dataset']} is not on this machine (`robench data {found['dataset']}`)."
        )
    if found["trace"]:
        notes.append(f"Trace of two steps: {found['trace']}, for chrome://tracing or ui.perfetto.dev.")
    return notes
