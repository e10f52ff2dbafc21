"""data and doctor: getting a machine ready."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.errors import RobenchError


def data(
    datasets: Annotated[list[str], typer.Argument(help="Data sets to bring and verify, like cifar10 mnist.")],
    data_dir: o.Data = None,
) -> None:
    """Bring data sets onto this machine, verify every file against its official MD5, and say where they lie.

    Extra data for --extra-data is a file of your own: an npz with image (N, H, W, C) uint8 and label (N,) integers, or
    a pickled dict with data and extrapolated_targets of the same kinds, as Carmon et al. released. It is read without
    executing anything in it. Without a file, rst_adv hides the labels of half of the training images and pseudo-labels
    them itself. docs/data.md says more.
    """
    from robench_fire.data import fetching
    from robench_fire.launching.progress_display import listening
    from robench_fire.problem import registry
    from robench_fire.progress import Event

    folder = data_dir or fetching.data_folder()
    found = [registry.load("datasets", name) for name in datasets]
    with listening(len(found), "data sets") as listen:
        for each in found:
            name = each.name

            def note(done: int, total: int, text: str, name: str = name) -> None:
                listen(Event(name, "data", done, total, text))

            paths = fetching.fetch(name, each.module.DATASET, folder, note)
            listen(Event(name, "done", 1, 1, ""))
            where = "\n".join(f"  {path}" for path in paths) or "  embedded; no file needed"
            print(f"{name}: verified\n{where}")


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
            drawn.add_row(
                f"[{colour}]{each.state}[/]", each.what, each.detail + (f"\nfix: {each.fix}" if each.fix else "")
            )
        Console().print(drawn)
    broken = [each.what for each in findings if each.state == "broken"]
    if broken:
        raise RobenchError(f"not ready: {', '.join(broken)}")
