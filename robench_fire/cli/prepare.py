"""data and doctor: getting a machine ready."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from robench_fire.cli.common import options as o
from robench_fire.cli.common.console import plain
from robench_fire.errors import RobenchError

if TYPE_CHECKING:
    from robench_fire.problem.registry import Found

SHOWN = 20  # classes of a data set of the user's own; of more, the fewest and the most images of one


def data(
    datasets: Annotated[
        list[str],
        typer.Argument(
            help="Data sets to bring, like cifar10 mnist, or images of your own, like ./FOLDER or FILE.npz."
        ),
    ],
    resize: o.Resize = None,
    channels: o.Channels = None,
    data_dir: o.Data = None,
) -> None:
    """Bring data sets onto this machine, verify every file against its official MD5, and say where they lie.

    Images of your own are read once, into arrays in the data folder, and it is said what was found; docs/own-data.md
    says how they are laid out. Extra data for --extra-data is a file of your own: an npz with image (N, H, W, C) uint8
    and label (N,) integers, or a pickled dict with data and extrapolated_targets of the same kinds, as Carmon et al.
    released. It is read without executing anything in it. Without a file, rst_adv hides the labels of half of the
    training images and pseudo-labels them itself. docs/data.md says more.
    """
    from robench_fire.data import fetching
    from robench_fire.data.own.sources import is_own
    from robench_fire.problem import registry

    folder = data_dir or fetching.data_folder()
    bundled = [registry.load("datasets", name) for name in datasets if not is_own(name)]
    for text in (each for each in datasets if is_own(each) or resize or channels):
        _prepare(text, folder, resize, channels)
    if bundled:
        _bring(bundled, folder)


def _bring(found: list[Found], folder: Path) -> None:
    from robench_fire.data import fetching
    from robench_fire.launching.progress_display import listening
    from robench_fire.progress import Event

    with listening(len(found), "data sets") as listen:
        for each in found:
            name = each.name

            def note(done: int, total: int, text: str, name: str = name) -> None:
                listen(Event(name, "data", done, total, text))

            paths = fetching.fetch(name, each.module.DATASET, folder, note)
            listen(Event(name, "done", 1, 1, ""))
            where = "\n".join(f"  {path}" for path in paths) or "  embedded; no file needed"
            print(f"{name}: verified\n{where}")


def _prepare(text: str, folder: Path, resize: int | None, channels: int | None) -> None:
    from robench_fire.data.own import stored
    from robench_fire.data.own.named import own_images
    from robench_fire.launching.progress_display import listening

    own = own_images(text, folder, listening, resize, channels, anew=True)
    if own is not None:
        place = stored.place_of(folder, own.name, own.sha256)
        _print_own(stored.facts_at(place), place)


def _print_own(facts: dict[str, Any], place: Path) -> None:
    """What was found: shape, parts, images of each class, and what was left out."""
    console = plain(soft_wrap=True)
    shape, counts = "x".join(map(str, facts["shape"])), facts["images_per_class"]
    console.print(f"{facts['name']}: {facts['num_classes']} classes of {shape} images, prepared", highlight=False)
    console.print(f"  {place}", highlight=False)
    drawn = Table(box=None, pad_edge=False)
    for column in ("class", "train", "validation", "test"):
        drawn.add_column(column, justify="left" if column == "class" else "right")
    few = len(counts) <= SHOWN
    for name, own in counts.items() if few else {}:
        drawn.add_row(name, *(f"{count:,}" for count in own))
    by_part = list(zip(*counts.values(), strict=True))
    if not few:
        drawn.add_row("fewest of a class", *(f"{min(each):,}" for each in by_part))
        drawn.add_row("most of a class", *(f"{max(each):,}" for each in by_part))
    drawn.add_row("all", *(f"{sum(each):,}" for each in by_part), style="bold")
    console.print(drawn)
    console.print(facts["split"], highlight=False)
    if facts["skipped"]:
        left = f"{len(facts['skipped']):,} images left out, as they cannot be read"
        console.print(f"{left}: {', '.join(facts['skipped'])}", highlight=False)
    if facts["test_images_in_train"]:
        shared = f"{facts['test_images_in_train']:,} test images are, pixel for pixel, trained on too"
        console.print(f"{shared}: accuracies will flatter", style="yellow", highlight=False)
    if facts["ignored_files"]:
        console.print(f"{facts['ignored_files']:,} files that are no images of a class were left", highlight=False)


def doctor(data_dir: o.Data = None, json: o.Json = False) -> None:
    """Say what works on this machine, and the fix for what does not."""
    from robench_fire.cli.doctor import examine
    from robench_fire.data import fetching

    findings = examine(data_dir or fetching.data_folder())
    if json:
        print(jsonlib.dumps({"format": 1, "findings": [each._asdict() for each in findings]}, indent=2))
    else:
        drawn = Table(box=None, pad_edge=False, show_header=False)
        for each in findings:
            colour = {"ok": "green", "note": "yellow", "broken": "red"}[each.state]
            drawn.add_row(Text(each.state, colour), each.what, each.detail + (f"\nfix: {each.fix}" if each.fix else ""))
        plain().print(drawn)
    broken = [each.what for each in findings if each.state == "broken"]
    if broken:
        raise RobenchError(f"not ready: {', '.join(broken)}")
