"""Where a user's images come from, told apart by the text that names them, and whether they have changed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from robench_fire.errors import DataError, UsageError, refuse_closed
from robench_fire.problem import registry

FORMAT = 1
"""Of what is prepared; another one is prepared anew."""
HUB = "hf:"
PUBLISHED = "imagenet"  # a board of RobustBench, whose figures are of other images than a user's
FUNCTION = re.compile(r"(.+\.py|[A-Za-z_]\w*(?:\.\w+)*):([A-Za-z_]\w*)")


class Source(NamedTuple):
    """``text`` as the user says it, ``place``: a path, module, or name at Hugging Face; ``name`` of the data set."""

    text: str
    kind: Literal["folder", "npz", "function", "hub"]
    place: str
    name: str
    function: str = ""

    @property
    def path(self) -> Path | None:
        """The file or folder that is read, where it is one."""
        if self.kind == "function" and not self.place.endswith(".py"):
            return None
        path = Path(self.place).expanduser()
        return path if self.kind != "hub" or path.is_dir() else None


def is_own(text: str) -> bool:
    """Whether a text names images of the user's own, and not a data set by its name."""
    return (
        text.startswith((HUB, "~"))
        or text.endswith((".npz", ".py"))
        or "/" in text
        or text in (".", "..")
        or FUNCTION.fullmatch(text) is not None
    )


def source_of(text: str) -> Source:
    """What a text names; nothing is read.

    Raises:
        UsageError: if the data set would have the name of a bundled one, or none.
        DataError: if there is no such file or folder.
    """
    if text.startswith(HUB):
        place = text.removeprefix(HUB)
        return _named(Source(text, "hub", place, Path(place).name))
    if match := FUNCTION.fullmatch(text):
        stem = Path(match[1]).stem if match[1].endswith(".py") else match[1].rpartition(".")[2]
        found = _named(Source(text, "function", match[1], f"{stem}-{match[2]}", match[2]))
    elif text.endswith(".py"):
        raise UsageError(f"{text}: say which of its functions returns the images, as {text}:FUNCTION")
    else:
        path = Path(os.path.abspath(Path(text).expanduser()))  # not resolved: a link may give it another name
        npz = text.endswith(".npz")
        found = _named(Source(text, "npz" if npz else "folder", text, path.stem if npz else path.name))
    if found.path is not None and not (found.path.is_dir() if found.kind == "folder" else found.path.is_file()):
        what = "a folder of images" if found.kind == "folder" else "a file"
        raise DataError(f"{found.place} is not {what}; docs/own-data.md says how images are laid out")
    return found


def _named(source: Source) -> Source:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.name).strip("-")
    if not name:
        raise UsageError(f"{source.text}: its name has no letter or digit for a run folder; give it another one")
    if registry.canonical(name) in {*registry.names("datasets"), PUBLISHED}:
        way = "a link is enough" if source.path else "its save_to_disk writes a folder"
        taken = f"{name} is what a bundled data set or a board of RobustBench is called"
        raise UsageError(f"{source.text}: {taken}; give yours another one, {way}")
    return source._replace(name=name)


def signature(source: Source, options: Mapping[str, Any]) -> str:
    """Of the path, size and time of every file of a source, and of ``options``: the same, if nothing has changed.

    Of a function it is its file's, and of a name at Hugging Face the name: whatever is behind them may change unseen.

    Raises:
        DataError: if a module cannot be found.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, source.kind, source.name, source.function, options]).encode())
    where = os.path.abspath(source.path) if source.path else source.place if source.kind == "hub" else ""
    digest.update(os.fsencode(where))
    for name, size, time in sorted(_files(source)):
        digest.update(f"{name}\0{size}\0{time}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(source: Source) -> Iterator[tuple[str, int, int]]:
    path = source.path or (module_file(source.place) if source.kind == "function" else None)
    if path is None:
        return
    if path.is_file():
        yield path.name, path.stat().st_size, path.stat().st_mtime_ns
        return
    for each in walked(path):
        if each.exists():
            yield str(each.relative_to(path)), each.stat().st_size, each.stat().st_mtime_ns


def walked(root: Path) -> Iterator[Path]:
    """Every file below a folder, through links too, each folder once: a link may lead back, or to what is above.

    Raises:
        UsageError: for a folder that may not be read, as its images would be left out in silence.
    """

    def identity(folder: str | Path) -> tuple[int, int]:
        facts = os.stat(folder)
        return facts.st_dev, facts.st_ino

    seen = {identity(each) for each in root.resolve().parents}
    for folder, inner, names in os.walk(root, onerror=refuse_closed, followlinks=True):
        if (own := identity(folder)) in seen:
            inner.clear()
        else:
            seen.add(own)
            yield from (Path(folder, name) for name in names)


def module_file(module: str) -> Path:
    """The file of an installed module.

    Raises:
        DataError: if there is none.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise DataError(f"there is no module {module} here; a file is ./{module.rpartition('.')[2]}.py:FUNCTION")
    return Path(spec.origin)
