"""Options of what a table shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.errors import UsageError

if TYPE_CHECKING:
    from robench_fire.tables.columns import Shown
    from robench_fire.tables.entries import Entry


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What a table shows, and of which rows."""

    paper: Annotated[bool, typer.Option("--paper", help="Columns with what the paper and RobustBench report.")] = False
    published: Annotated[
        bool, typer.Option("--published", help="Rows of RobustBench's board and of benchmarks, and our rank.")
    ] = False
    cost: Annotated[
        bool, typer.Option("--cost", help="What a seed cost (time, FLOPs, energy), not how it was trained.")
    ] = False
    attacks: Annotated[bool, typer.Option("--attacks", help="What each attack by itself leaves.")] = False
    ci: Annotated[bool, typer.Option("--ci", help="95 % intervals, not stds; Pareto-optimal rows.")] = False
    per_seed: Annotated[bool, typer.Option("--per-seed", help="A line for each seed.")] = False
    wide: Annotated[bool, typer.Option("--wide", help="Every column, however narrow the terminal is.")] = False
    columns: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="These columns, in this order, like Method,Clean,AutoAttack.")
    ] = ""
    caption: Annotated[str, typer.Option(help="In place of the table's title; LaTeX's caption.")] = ""
    only: o.Only = None
    where: o.Where = None
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="ROW=TEXT", help="Call a row otherwise; repeatable.")
    ] = None

    def shown(self) -> Shown:
        """What beside the usual.

        Raises:
            UsageError: for two that take the place of the same columns.
        """
        from robench_fire.tables.columns import Shown

        if self.cost and self.attacks:
            raise UsageError("--cost and --attacks: each takes the place of other columns; choose one")
        named = tuple(reading.listed([self.columns]))
        return Shown(self.paper, self.published, self.cost, self.attacks, self.ci, self.per_seed, named, self.caption)

    def check(self, style: str) -> None:
        """Refuse what a format of tables/render.py does not take.

        Raises:
            UsageError: naming the options to leave out.
        """
        if (self.columns or self.caption) and style in ("csv", "json", "bibtex"):
            raise UsageError(f"--columns and --caption are of tables to read; {style} has all, leave them out")

    def of(self, entries: list[Entry]) -> list[Entry]:
        """Those that are asked for, called as the user says.

        Raises:
            UsageError: for a name, a setting or a label that does not fit, or if nothing is left.
        """
        from robench_fire.tables.choice import chosen_in

        return chosen_in(entries, reading.listed(self.only), self.where or [], self.label or [])
