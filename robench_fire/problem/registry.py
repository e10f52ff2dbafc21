"""Finding defenses and data sets: bundled modules by file stem, entry points, and a user's own file by path.

Listing executes none of them; a module is imported when it is asked for.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from robench_fire.errors import OWN_FILE, RecipeError, UsageError, in_a_line, located, unknown

Group = Literal["defenses", "datasets"]
_VALUE = {"defenses": "DEFENSE", "datasets": "DATASET"}


class Found(NamedTuple):
    """A plug-in module and where it came from; ``code`` identifies the source of one that is not bundled."""

    name: str
    module: ModuleType
    origin: str
    code: str


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
        if found.setdefault(name, entry.module) != entry.module:
            raise UsageError(f"two {group} are called {name!r}: {found[name]} and {entry.module}; uninstall one")
    return found


def load(group: Group, name: str) -> Found:
    """The plug-in called ``name``, or the file at the path ``name`` if it ends in .py.

    Raises:
        UsageError: for an unknown name, with the nearest match.
        RecipeError: if the module cannot be imported or lacks what its group requires.
    """
    if name.endswith(".py"):
        if group != "defenses":
            raise UsageError(f"{name}: a data set is found by name; install yours with an entry point (docs/data.md)")
        return _checked(group, canonical(Path(name).stem), _from_file(Path(name)), str(Path(name).resolve()))
    choices = names(group)
    wanted = canonical(name)
    if wanted not in choices:
        if group == "defenses" and wanted in names("datasets"):
            raise UsageError(
                f"{name} is a data set; a command names the defense first, as in `robench show fire {wanted}`"
            )
        if group == "defenses" and wanted in groups():
            held = ", ".join(groups()[wanted])
            raise UsageError(f"{name} is a group of defenses, which bench and sweep take: {held}; name one of them")
        raise UsageError(unknown(group[:-1].replace("dataset", "data set"), name, choices) + _own(group, name))
    try:
        module = importlib.import_module(choices[wanted])
    except (Exception, SystemExit) as fault:
        raise RecipeError(f"{choices[wanted]} cannot be imported: {in_a_line(fault)}") from fault
    return _checked(group, wanted, module, choices[wanted])


def _own(group: Group, name: str) -> str:
    """How a file is named that may have been meant."""
    if group != "defenses":
        if "/" in name:
            return "; images of your own are trained on, and their runs attacked (docs/own-data.md)"
        return f"; for the folder {name} say ./{name}" if Path(name).is_dir() else ""
    if Path(f"{name}.py").is_file():
        return f"; for the file {name}.py say {Path(name).parent / Path(name).name}.py"
    return "; a defense of your own is a file whose name ends in .py" if "/" in name or Path(name).is_file() else ""


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path} is not a file; give the path of a .py file or a name that `robench ls` lists")
    mark = hashlib.sha256(bytes(path.resolve())).hexdigest()[:8]  # two files may have one name
    return executed(path, f"{OWN_FILE}{path.stem}_{mark}")


def executed(path: Path, name: str) -> ModuleType:
    """A file of the user's as the module ``name``.

    Raises:
        RecipeError: if it cannot be imported, with its line.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and type hints look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as fault:
        del sys.modules[spec.name]
        line = fault.lineno if isinstance(fault, SyntaxError) else located(fault).rpartition(":")[2]
        said = f"{type(fault).__name__}: {fault.msg}" if isinstance(fault, SyntaxError) else in_a_line(fault)
        raise RecipeError(f"{path}:{line} cannot be imported: {said}") from fault
    return module


def _checked(group: Group, name: str, module: ModuleType, origin: str) -> Found:
    required = (_VALUE[group], "PAPER") if group == "defenses" else (_VALUE[group],)
    missing = [each for each in required if not hasattr(module, each)]
    if missing:
        raise RecipeError(f"{origin} defines no {' and no '.join(missing)}; see docs/adding-a-defense.md")
    if isinstance(getattr(module, _VALUE[group]), type):
        raise RecipeError(f"{origin}: {_VALUE[group]} is a class; make it a value, {_VALUE[group]} = Name()")
    if group == "defenses":
        _check_paper(module.PAPER, origin)
    bundled = module.__name__.startswith(f"robench_fire.{group}.")
    code = "" if bundled or not module.__file__ else hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:12]
    return Found(name, module, origin, code)


def _check_paper(paper: object, origin: str) -> None:
    from robench_fire.problem.defense import Paper, Reported  # which loads torch; listing plug-ins does not

    if not isinstance(paper, Paper):
        raise RecipeError(f"{origin}: PAPER is a {type(paper).__name__}; make it Paper(key=..., method=..., ...)")
    if not all(isinstance(each, Reported) for each in paper.reported):
        raise RecipeError(f"{origin}: PAPER's reported holds something else than Reported(...)")
    if not (paper.key and paper.method):
        raise RecipeError(f"{origin}: PAPER needs a key and a method, the name in a table")


def summary(group: Group, name: str) -> str:
    """The first line of a plug-in's docstring, read without executing it."""
    dotted = names(group)[name]
    try:
        parsed = _parsed(dotted)
    except Exception as fault:  # one broken plug-in must not take the listing down
        return f"{dotted} cannot be read: {in_a_line(fault)}"
    return f"{dotted} cannot be found" if parsed is None else (ast.get_docstring(parsed) or "").split("\n")[0]


def groups() -> dict[str, list[str]]:
    """Names by the groups that defenses say they belong to: ``GROUPS = (...)`` in their files, not executed."""
    found: dict[str, list[str]] = {}
    for name, dotted in names("defenses").items():
        with suppress(Exception):  # a broken one says so where it is loaded
            parsed = _parsed(dotted)
            for node in parsed.body if parsed else []:
                if isinstance(node, ast.Assign) and [*map(ast.unparse, node.targets)] == ["GROUPS"]:
                    for each in ast.literal_eval(node.value):
                        found.setdefault(canonical(each), []).append(name)
    return found


def _parsed(dotted: str) -> ast.Module | None:
    """The source of a module that is not imported; None if it is not there."""
    try:
        spec = importlib.util.find_spec(dotted)
    except ModuleNotFoundError:
        return None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec and spec.origin else None
