"""The code of a network of a user's own: which files it is, whether it is still the same, and its import.

Code is executed where the user names it (``trust``), and later only if it is still the same in the same place. What was
named is kept for the user, not in a run folder, which may be a stranger's. Imports no torch.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from robench_fire.errors import OWN_FILE, RecipeError, in_a_line
from robench_fire.files import replaced, sha256, write_text
from robench_fire.models.own.text import Written
from robench_fire.problem import registry

DIGITS = 12  # of a SHA-256, in a plan
ELSEWHERE = {"robench_fire", *sys.stdlib_module_names}
"""Packages that are no part of a network's code, wherever they lie."""


class Code(NamedTuple):
    """The files of a network.

    ``path``: the one that it is in. ``root``: the folder that its imports begin at. ``files``: it and those below
    ``root`` that it imports, by path there. ``module``: its dotted name, "" for a file that was named as one.
    """

    path: Path
    root: Path
    files: dict[str, Path]
    module: str = ""

    def sha256(self) -> str:
        """The file's SHA-256; where it imports others, of all their sums, as sha256sum writes them."""
        if len(self.files) == 1:
            return sha256(self.path)
        lines = "".join(f"{sha256(path)}  {name}\n" for name, path in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def digest(self) -> str:
        """The beginning of that."""
        return self.sha256()[:DIGITS]


def code_at(place: str, flag: str = "--arch", what: str = "a network") -> Code:
    """The code of a file, or of a module that Python finds; ``flag`` and ``what``: how it was asked for, for messages.

    Raises:
        RecipeError: if there is none.
    """
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise RecipeError(f"{flag} {place}: no such file; {what} of your own is FILE.py:FUNCTION")
        return Code(path, path.parent, _with_imported(path, path.parent))
    try:
        spec = importlib.util.find_spec(place)
    except Exception as fault:  # whatever the package that the module is in raises
        raise RecipeError(f"{flag} {place}: {in_a_line(fault)}") from None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        hint = f"; for the file {place}.py say ./{place}.py" if Path(f"{place}.py").is_file() else ""
        raise RecipeError(f"{flag} {place}: Python finds no such module; is it installed, or in PYTHONPATH?{hint}")
    path = Path(spec.origin).resolve()
    root = path.parents[place.count(".") + (path.name == "__init__.py")]
    if {"site-packages", "dist-packages"} & {*path.parts}:  # installed: its version is among a run's versions
        return Code(path, root, {path.relative_to(root).as_posix(): path}, place)
    return Code(path, root, _with_imported(path, root, place.partition(".")[0]), place)


def _with_imported(path: Path, root: Path, within: str = "") -> dict[str, Path]:
    """``path`` and the files below ``root`` that it imports, and these; only those ``within`` a package, if named."""
    found, left = {path.relative_to(root).as_posix(): path}, [path]
    while left:
        importing = left.pop()
        for name in _imports(importing, importing.relative_to(root)):
            top = name.partition(".")[0]
            if top in ELSEWHERE or within not in ("", top):
                continue
            stem = root.joinpath(*name.split("."))
            for each in (stem.with_suffix(".py"), stem / "__init__.py"):
                if (key := each.relative_to(root).as_posix()) not in found and each.is_file():
                    found[key] = each
                    left.append(each)
    return found


def _imports(path: Path, place: Path) -> Iterator[str]:
    """Dotted names that a file may import, with the packages that they are in; nothing is executed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # said when it is imported
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = place.parts[: len(place.parts) - node.level] if node.level else ()
            whole = ".".join([*above, *([node.module] if node.module else [])])
            names = [".".join(filter(None, (whole, alias.name))) for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


_executed: dict[tuple[str, str], Code] = {}  # by digest and name: what this process was told to execute


def imported(network: Written, code: Code) -> ModuleType:
    """The module that ``code`` is, executed once for each state of it.

    Raises:
        RecipeError: if it cannot be imported, with the line.
    """
    module = _module(network) if network.digest in {digest for digest, _ in _executed} else None
    if module is None:
        if str(code.root) not in sys.path:
            sys.path.insert(0, str(code.root))  # as for a script; stays, as functions import too
        module = _by_name(network, code) if code.module else _from_file(network, code)
    _executed[network.digest, network.name] = code  # also where it is the same in another place
    return module


def _from_file(network: Written, code: Code) -> ModuleType:
    for name in code.files:  # what it imports may be there of another state of it, or of another folder
        sys.modules.pop(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."), None)
    return registry.executed(code.path, _entered(network))


def _by_name(network: Written, code: Code) -> ModuleType:
    if any(each.module == code.module for each in _executed.values()):
        raise RecipeError(f"{code.module} has changed since this process imported it; begin a new one")
    try:
        module = importlib.import_module(code.module)
    except (Exception, SystemExit) as fault:
        raise RecipeError(f"{code.module} cannot be imported: {in_a_line(fault)}") from fault
    sys.modules[_entered(network)] = module
    return module


def loaded(network: Written) -> ModuleType | None:
    """The module, if this process was told to execute this very function of this state of its code."""
    return _module(network) if (network.digest, network.name) in _executed else None


def _module(network: Written) -> ModuleType | None:
    return sys.modules.get(_entered(network))


def _entered(network: Written) -> str:
    """What the module is called among Python's."""
    return f"{OWN_FILE}{Path(network.place).name.removesuffix('.py').replace('.', '_')}_{network.digest}"


def copy(network: Written, folder: Path) -> dict[str, str]:
    """Copies of a network's code, below ``folder`` as they lie below their own; what a record says of them.

    Raises:
        RecipeError: if the code is no longer what this process executes.
    """
    code = _executed[network.digest, network.name]
    if code.digest() != network.digest:
        raise RecipeError(f"{code.path} has changed since this command began; run it again for the new one")
    for name, path in code.files.items():
        with replaced(folder / name) as partial:
            shutil.copyfile(path, partial)
    return {"path": str(code.path), "sha256": sha256(code.path), "files": ", ".join(sorted(code.files))}


def _kept(network: Written) -> Path:
    home = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return home / "robench_fire" / "networks" / f"{network.digest}.{network.name}"


def trust(network: Written, code: Code) -> None:
    """Keep where a network's code is that the user named, so that later commands may execute it."""
    places = dict.fromkeys([code.module or str(code.path), *_places(network)])
    with contextlib.suppress(OSError):  # nowhere to keep it: it has to be named again
        if [*places] != _places(network):
            write_text(_kept(network), "\n".join(places))


def _places(network: Written) -> list[str]:
    """Where the user has named a network's code, last first."""
    try:
        return _kept(network).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def trusted(network: Written, other: str = "") -> Code:
    """The code that the user named before as this network, still as it was. ``other``: where a copy of it is.

    Raises:
        RecipeError: if it never was, is gone or has changed.
    """
    now = {}
    for place in _places(network):
        with contextlib.suppress(RecipeError):
            code = code_at(place)
            if (digest := code.digest()) == network.digest:
                return code
            now[place] = digest
    call = network.asked().partition(":")[2]
    again = f"look at {other or 'the copy in its run folder'}, then say --arch '{other or 'COPY'}:{call}' to take that"
    for place, digest in now.items():
        raise RecipeError(f"{place}, or what it imports, has changed since it was {network} (now {digest}): {again}")
    for place in _places(network):
        raise RecipeError(f"{place}, the code of {network}, is gone: {again}")
    raise RecipeError(f"the code of {network} was never named here: {again}")
