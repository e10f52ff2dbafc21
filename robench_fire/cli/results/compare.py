"""compare: whether a difference between rows is one."""

from __future__ import annotations

import json as jsonlib
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.cli.common.console import plain
from robench_fire.cli.results.verdicts import p_value
from robench_fire.errors import DataError, UsageError, unknown
from robench_fire.runs.evaluations import ROWS

if TYPE_CHECKING:
    from robench_fire.boards.rows import Row


class MetricName(str, Enum):
    """What is compared."""

    clean = "clean"
    robust = "robust"
    average = "average"


def compare(
    source: Annotated[
        Path, typer.Argument(readable=False, help="A board or run folders, like leaderboards/digits/Linf.")
    ],
    names: Annotated[list[str], typer.Argument(help="The row that is compared, then those it is compared with.")],
    with_: o.With = None,
    metric: Annotated[MetricName, typer.Option(help="Which accuracy.")] = MetricName.robust,
    eps: Annotated[str, typer.Option(help="Rows that claim this radius instead of the plan's, like 0.031.")] = "",
    until: Annotated[
        str | None,
        typer.Option(metavar="POINTS", help="Attack the networks of two methods on as many images as it takes."),
    ] = None,
    attack: Annotated[str, typer.Option(help="With --until: aa (AutoAttack standard) or pgd20.")] = "aa",
    eval_seed: o.EvalSeed = 0,
    device: o.Device = "auto",
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Whether one row differs from others: the difference, its 95 % interval over seeds and images, one sentence."""
    if until is not None:
        if with_:
            raise UsageError("--until attacks the networks of runs: leave out --with")
        _compare_until(source, names, until, metric, attack, eval_seed, eps, data_dir, device, json)
        return
    for flag, given in (("--attack", attack != "aa"), ("--eval-seed", eval_seed), ("--device", device != "auto")):
        if given:
            raise UsageError(f"{flag} is for the attacks that --until POINTS makes: add that, or leave {flag} out")
    if len(names) < 2:
        raise UsageError("name two rows or more: the one that is compared, then those it is compared with")
    from robench_fire.boards.labels import chosen
    from robench_fire.comparison import compare as comparing

    rows = [*comparing.rows_at([source], eps), *_checkpoints(with_ or [], eps)]
    found = comparing.compare(chosen(rows, names), metric.value)
    if json:
        print(jsonlib.dumps({"format": 1, "comparisons": [comparing.as_plain(each) for each in found]}, indent=2))
        return
    _print(found)
    for each in found:
        print(comparing.sentence(each))


def _checkpoints(texts: list[str], eps: str) -> list[Row]:
    """Evaluated checkpoints as rows, one for each setting in which they were evaluated."""
    from robench_fire.boards.checkpoints import named, row_of, together

    return [row_of(each) for name, files in named(texts).items() for each in together(name, files, eps)]


def _compare_until(
    source: Path, names: list[str], until: str, metric: MetricName, attack: str, seed: int, eps: str,
    data_dir: Path | None, device: str, json: bool,
) -> None:  # fmt: skip
    from robench_fire.comparison.until import Asked, compare_until, points
    from robench_fire.comparison.until_text import as_plain, sentence
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.launching.progress_display import listening

    if attack not in ROWS:
        raise UsageError(unknown("attack", attack, ROWS))
    asked = Asked(points(until), metric.value, attack, seed, eps)
    if not source.exists():
        raise DataError(f"{source} does not exist; name a folder of runs")
    found = compare_until(source, names, asked, data_dir or data_folder(), resolve(device), listening)
    print(jsonlib.dumps({"format": 1, "until": as_plain(found)}, indent=2) if json else sentence(found))


def _print(found: list[Any]) -> None:
    console, first = plain(), found[0].one
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("", "Difference", "95 % interval", "p (Holm)" if len(found) > 1 else "p", "Verdict"):
        drawn.add_column(column, justify="left" if column in ("", "Verdict") else "right", no_wrap=True)
    for each in found:
        one = each.found
        drawn.add_row(
            f"{first.name} − {each.other.name}",
            f"{one.value:+.2f}", f"{one.low:+.2f} to {one.high:+.2f}", p_value(each.adjusted), each.verdict,
        )  # fmt: skip
    console.print(drawn)
    console.print()
