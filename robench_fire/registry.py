"""Finding defenses and data sets: bundled modules by file stem, entry points, and a user's own file by path.

Listing executes none of them; a module is imported when it is asked for.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from robench_fire.errors import RecipeError, UsageError, unknown

Group = Literal["defenses", "datasets"]
_VALUE = {"defenses": "DEFENSE", "datasets": "DATASET"}


class Found(NamedTuple):
    """A plug-in module and where it came from."""

    name: str
    module: ModuleType
    origin: str


def canonical(name: str) -> str:
    """File stems use underscores; ``fire-sa`` and ``FIRE_SA`` both mean ``fire_sa``."""
    return name.lower().replace("-", "_")


@cache
def names(group: Group) -> dict[str, str]:
    """Name to dotted module of every installed plug-in of a group.

    Raises:
        UsageError: if two plug-ins claim one name.
    """
    package = importlib.import_module(f"robench_fire.{group}")
    found = {each.name: f"{package.__name__}.{each.name}" for each in pkgutil.iter_modules(package.__path__)}
    for entry in entry_points(group=f"robench_fire.{group}"):
        name = canonical(entry.name)
        if found.setdefault(name, entry.value) != entry.value:
            raise UsageError(f"two {group} are called {name!r}: {found[name]} and {entry.value}; uninstall one")
    return found


def load(group: Group, name: str) -> Found:
    """The plug-in called ``name``, or the file at the path ``name`` if it ends in .py.

    Raises:
        UsageError: for an unknown name, with the nearest match.
        RecipeError: if the module cannot be imported or lacks what its group requires.
    """
    if name.endswith(".py"):
        return _checked(group, Path(name).stem, _from_file(Path(name)), str(Path(name).resolve()))
    choices = names(group)
    wanted = canonical(name)
    if wanted not in choices:
        raise UsageError(unknown(group[:-1].replace("dataset", "data set"), name, choices))
    return _checked(group, wanted, importlib.import_module(choices[wanted]), choices[wanted])


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path} is not a file; give the path of a .py file or a name that `robench ls` lists")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as fault:
        raise RecipeError(f"{path} cannot be imported: {type(fault).__name__}: {fault}") from fault
    return module


def _checked(group: Group, name: str, module: ModuleType, origin: str) -> Found:
    required = (_VALUE[group], "PAPER") if group == "defenses" else (_VALUE[group],)
    missing = [each for each in required if not hasattr(module, each)]
    if missing:
        raise RecipeError(f"{origin} defines no {' and no '.join(missing)}; see docs/adding-a-defense.md")
    return Found(name, module, origin)


def summary(group: Group, name: str) -> str:
    """The first line of a plug-in's docstring, read without executing it."""
    spec = importlib.util.find_spec(names(group)[name])
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0] if text else ""
