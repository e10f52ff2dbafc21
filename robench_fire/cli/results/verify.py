"""verify: whether runs and boards still are what was written."""

from __future__ import annotations

import json as jsonlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.cli.common.console import plain

if TYPE_CHECKING:
    from robench_fire.verification.finding import Finding


def verify(
    source: Annotated[Path, typer.Argument(readable=False, help="A board, a run, or a folder of either.")],
    recompute: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Of runs: all clean images and N perturbed ones, by the weights, too."),
    ] = None,
    device: o.Device = "auto",
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Recompute hashes and results of runs and boards. Exit code 7: a file is not what was written, or says so."""
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.launching.local import reporter
    from robench_fire.launching.progress_display import listening
    from robench_fire.verification.verify import OUTCOMES, refuse
    from robench_fire.verification.verify import verify as verifying

    with listening(1, "source") as listen:
        say = reporter(str(source), listen)
        found = verifying(source, data_dir or data_folder(), recompute, resolve(device), say)
        say("done", 1, 1, "")
    if json:
        listed = [each._asdict() | {"outcome": OUTCOMES[each.passed]} for each in found]
        print(jsonlib.dumps({"format": 1, "findings": listed}, indent=2, ensure_ascii=False))
    else:
        _print(found)
    refuse(found)


def _print(found: list[Finding]) -> None:
    """A line for each kind of check, and below why some could not be made."""
    console, kinds = plain(), defaultdict[str, list["Finding"]](list)
    for each in found:
        kinds[each.what].append(each)
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("Checked", "Files", "Result", "Against"):
        drawn.add_column(column, justify="right" if column == "Files" else "left", overflow="fold")
    for what, alike in kinds.items():
        against = next((each.found for each in alike if each.passed), "")
        drawn.add_row(what, str(len(alike)), _result(alike), against)
    console.print(drawn)
    why: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for each in (one for one in found if one.passed is None):
        why[each.what, each.found].append(each.file)
    for (what, said), files in why.items():
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        console.print(f"Not recorded: {what}, {files[0]}{more}: {said}.", highlight=False, soft_wrap=True)


def _result(found: list[Finding]) -> str:
    """How many came out how."""
    counts = {"agree": True, "disagree": False, "not recorded": None}
    said = {name: sum(each.passed is passed for each in found) for name, passed in counts.items()}
    return ", ".join(f"{count} {name}" if len(found) > count else name for name, count in said.items() if count)
