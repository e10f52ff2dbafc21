"""table: what runs and boards hold, as a table."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from robench_fire.cli.common import options as o
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.table_options import TableOptions
from robench_fire.errors import UsageError


class Format(str, Enum):
    """How a table is printed."""

    terminal = "terminal"
    html = "html"
    md = "md"
    latex = "latex"
    csv = "csv"
    json = "json"
    bibtex = "bibtex"


Sources = Annotated[
    list[Path] | None,
    typer.Argument(
        readable=False,
        help="Run folders, boards, evaluated checkpoints or weights of RobustBench's. (default: --output)",
    ),
]


def table(
    wanted: TableOptions,
    sources: Sources = None,
    output: o.Output = Path("runs"),
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.terminal,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER", help="With --published, and from now on: figures of a newer RobustBench model_info."
        ),
    ] = None,
    with_: o.With = None,
    eps: Annotated[str, typer.Option(help="Claim this radius instead of the plan's, like 0.031.")] = "",
    publish: Annotated[Path | None, typer.Option(help="Also write our rows to this board (leaderboards).")] = None,
    json: o.Json = False,
) -> None:
    """Print mean ± std over seeds in RobustBench's columns, one row per plan."""
    from robench_fire.tables import entries, render

    if json and format_ not in (Format.terminal, Format.json):
        raise UsageError(f"--json and --format {format_.value}: choose one")
    shown, style = wanted.shown(), "json" if json else format_.value
    wanted.check(style)
    _update(update, shown.published)
    usual = [] if with_ and not output.exists() else [output]
    found = wanted.of(entries.entries_in(sources or usual, eps, with_ or []))
    render.show(found, style, plain(), shown, wanted.wide)
    if publish is not None:
        rows = [each.row for each in found if each.row]
        if not rows:
            raise UsageError("--publish writes rows of ours; there is none here, only published weights")
        from robench_fire.reports.report import tradeoff

        for path in render.publish(rows, publish, tradeoff):
            print(path, file=sys.stderr)


def _update(source: Path | None, asked: bool) -> None:
    from robench_fire.tables import published_rows

    if source is None:
        return
    if not asked:
        raise UsageError("--update brings figures for --published; add it")
    brought, kept = len(published_rows.update(source)), published_rows.kept()
    print(f"{brought} published figures are now in {kept}; without it, the package's are used", file=sys.stderr)
