"""A folder kept the same on two machines: what changed in it since last time, and doing the same elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from robench_fire.files import replaced
from robench_fire.training.saving import PREVIOUS

Marks = dict[str, tuple[int, int, int]]
"""When each file of a folder was written (ns), its inode and its size, by its path in the folder."""


class Change(NamedTuple):
    """New contents of files, in the order in which they were written, and the files that are gone."""

    files: dict[str, bytes]
    gone: tuple[str, ...] = ()


def marks(folder: Path) -> Marks:
    """The files in a folder and below it.

    Left out are hidden ones, which are locks and half-written files, and the state before one that is there.
    """
    found = {}
    for path in folder.rglob("[!.]*"):
        if path.name.endswith(PREVIOUS) and path.with_name(path.name.removesuffix(PREVIOUS)).exists():
            continue
        try:
            facts = path.stat()
        except FileNotFoundError:  # removed meanwhile
            continue
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
    return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))


def changes(folder: Path, known: Marks) -> tuple[Change, Marks] | None:
    """What changed since ``known``, and the marks of now; None if the folder changed while it was read.

    So a change is always the folder as it stood at one moment, like what a power cut would leave.
    """
    try:
        now = marks(folder)
        files = {name: (folder / name).read_bytes() for name, mark in now.items() if known.get(name) != mark}
        if marks(folder) != now:
            return None
    except FileNotFoundError:
        return None
    return Change(files, tuple(name for name in known if name not in now)), now


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Every file of a folder by its path in it, hidden ones left out; with ``patterns`` those that match one."""
    found = [name for name in marks(folder) if not patterns or any(Path(name).match(each) for each in patterns)]
    return {name: (folder / name).read_bytes() for name in found}


def apply(folder: Path, change: Change) -> None:
    """Do in ``folder`` what was done in the other: write first, each file whole or not at all, then remove."""
    for name, content in change.files.items():
        with replaced(folder / name) as partial:
            partial.write_bytes(content)
    for name in change.gone:
        path = folder / name
        for each in (path, path.with_name(path.name + PREVIOUS)):  # the latter is never sent, see marks
            each.unlink(missing_ok=True)
        if path.parent != folder and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same files, one folder deeper."""
    return {f"{folder}/{name}": content for name, content in files.items()}
