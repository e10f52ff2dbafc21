"""The command reference, from the commands themselves."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import typer

from robench_fire.cli import app


def reference() -> str:
    """Every command: what it does, its usage, its arguments and options by group."""
    group: Any = typer.main.get_command(app)
    each = {f"robench {name}": command for name, command in group.commands.items() if not command.hidden}
    return "\n".join(_section(name, command) for name, command in {**each, "robench": group}.items())


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    shown = [each for each in command.get_params(context) if not getattr(each, "hidden", False) and each.name != "help"]
    panels = groupby(sorted(shown, key=lambda given: _order(shown, given)), _panel)
    tables = [_table(panel, list(members), context) for panel, members in panels]
    return "\n".join([f"## {name}\n", command.help, f"\n```text\n{usage}\n```\n", *tables])


def _panel(given: Any) -> str:
    named = getattr(given, "rich_help_panel", None)
    return named or ("Arguments" if given.param_type_name == "argument" else "Options")


def _order(shown: list[Any], given: Any) -> int:
    """Panels in the order of their first member."""
    return [_panel(each) for each in shown].index(_panel(given))


def _table(panel: str, members: list[Any], context: Any) -> str:
    rows = [_row(*given.get_help_record(context)) for given in members]
    return "\n".join([f"| {panel} | |", "| --- | --- |", *rows, ""])


def _row(names: str, said: str) -> str:
    return f"| `{names}` | {said} |".replace("\n", " ")
