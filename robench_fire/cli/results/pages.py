"""report and site: pages to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.errors import UsageError


def report(
    sources: Annotated[list[Path], typer.Argument(readable=False, help="Run folders, boards, evaluated weights.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    only: o.Only = None,
    where: o.Where = None,
    eps: Annotated[str, typer.Option(help="Rows that claim this radius instead of the plan's, like 0.031.")] = "",
    data_dir: o.Data = None,
    force: o.Force = False,
) -> None:
    """One page that needs nothing else: tables with intervals, figures, reliability, cost, where it comes from."""
    if output.suffix != ".html":
        raise UsageError(f"-o {output}: a report is a page; call it {output.with_suffix('.html')}")
    if output.exists() and not force:
        raise UsageError(f"{output} exists and is kept; choose another name, or --force")
    from robench_fire.data.fetching import data_folder
    from robench_fire.files import write_text
    from robench_fire.reports.report import report as made
    from robench_fire.tables.choice import chosen_in
    from robench_fire.tables.entries import entries_in

    entries = chosen_in(entries_in(sources, eps), reading.listed(only), where or [])
    write_text(output, made(sources, entries, data_dir or data_folder()))
    print(output)


def site(
    boards: Annotated[Path, typer.Argument(help="A folder of boards, like leaderboards.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the website.")] = Path("site"),
) -> None:
    """Boards as a static website: an index, a page per board, a page per row with its downloads."""
    from robench_fire.reports.site import listed, write

    print(listed(write(boards, output)))
