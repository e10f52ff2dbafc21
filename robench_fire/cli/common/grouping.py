"""A command that takes groups of options, as typer should see it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import fields
from typing import Annotated, Any, get_args, get_type_hints

from robench_fire.cli.common.groups import GROUPS


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as typer should see it: with the options of a group in the place of each group that it takes."""
    hints = get_type_hints(command, include_extras=True)
    shown: list[inspect.Parameter] = []
    taken: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if hints[name] in GROUPS:
            taken[name] = hints[name]
            types = get_type_hints(hints[name], include_extras=True)
            heading = GROUPS[hints[name]]
            shown += [
                _option(each.name, _under(heading, types[each.name]), each.default) for each in fields(hints[name])
            ]
        else:
            shown.append(_option(name, hints[name], parameter.default))

    def run(**given: Any) -> None:
        groups = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in taken.items()}
        command(**given, **groups)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run


def _under(heading: str, kind: Any) -> Any:
    """An annotated option under a heading of its command's help."""
    inner, option = get_args(kind)
    option = copy(option)
    option.rich_help_panel = heading
    return Annotated[inner, option]


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
