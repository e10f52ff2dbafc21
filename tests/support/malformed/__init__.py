"""Malformed inputs as a table of values; tests/test_malformed.py gives each to the command line."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robench_fire.files import SEAL, digest, sealed
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs.folders import find

Make = Callable[[Path], None]
"""What is put into the folder that a command runs in: there are ``runs`` of two seeds, a ``board``, and ``net.pt``."""

GARBAGE = bytes(range(256)) * 3
DEEP = "[" * 100_000 + "]" * 100_000


def nothing(place: Path) -> None:
    pass


class Case(NamedTuple):
    """``words``: the command line. ``said``: what its message must say, of the fault and of the fix, between "..."."""

    name: str
    words: str
    code: int
    said: str
    make: Make = nothing
    besides: str = ""  # how the name of a file ends that may be changed all the same


def the(place: Path, pattern: str) -> Path:
    """The first seed's file that is called like that."""
    (path,) = find(place / "runs")[0].folder.glob(pattern)
    return path


def written(name: str, content: bytes | str) -> Make:
    """A file in the folder of the command."""

    def make(place: Path) -> None:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def holds(pattern: str, content: bytes | str) -> Make:
    """A file of the first seed with another content."""
    return lambda place: written(str(the(place, pattern).relative_to(place)), content)(place)


def cut(pattern: str, share: float = 0.5) -> Make:
    """A file of the first seed, only the beginning of it."""
    return lambda place: holds(pattern, (whole := the(place, pattern).read_bytes())[: int(share * len(whole))])(place)


def folder(pattern: str) -> Make:
    """A folder in the place of a file of the first seed."""

    def make(place: Path) -> None:
        path = the(place, pattern)
        path.unlink()
        path.mkdir()

    return make


def gone(pattern: str) -> Make:
    return lambda place: the(place, pattern).unlink()


def array(pattern: str, value: Any) -> Make:
    """An .npy of the first seed with another array."""
    return lambda place: np.save(the(place, pattern), value)


def put(value: Any, keys: tuple[Any, ...], new: Any) -> None:
    """Give what lies at ``keys`` of a JSON value another one; ``...``: take it out."""
    for key in keys[:-1]:
        value = value[key]
    if new is ...:
        del value[keys[-1]]
    else:
        value[keys[-1]] = new


def edited(pattern: str, *keys: Any, to: Any) -> Make:
    """A value of a JSON of the first seed, and its seal as if nothing had happened; ``to`` ...: it is taken out.

    Of a plan every seed has the other value, and the folder its fingerprint.
    """

    def make(place: Path) -> None:
        path = the(place, pattern)
        told = json.loads(path.read_text())
        put(told, keys, to)
        if path.name != "plan.json":
            path.write_text(json.dumps(sealed(told)))
            return
        for run in find(place / "runs"):
            (run.folder / "plan.json").write_text(json.dumps(told))
        path.parent.parent.rename(path.parent.parent.with_name(plan_fingerprint(told)))

    return make


def row(*keys: Any, to: Any) -> Make:
    """A value of a board's row, sealed again."""

    def make(place: Path) -> None:
        path = place / ROW
        told = json.loads(path.read_text())
        put(told, keys, to)
        if isinstance(own := told.get("robench_fire"), dict):
            own.pop(SEAL, None)
            own[SEAL] = digest(told)
        path.write_text(json.dumps(told))

    return make


ROW = "board/digits/Linf/Carmon2019Unlabeled_hidden.json"


def state(place: Path) -> dict[str, str]:
    """Every file and folder of a place, with the hash of its content."""
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(place.rglob("*"))
    }


def copied(made: Path, place: Path) -> Path:
    """A place that may be broken."""
    return Path(shutil.copytree(made, place))
