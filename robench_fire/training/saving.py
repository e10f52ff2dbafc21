"""The file of an unfinished training: a torch file with its SHA-256 behind it, and the one before it, kept beside."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch

from robench_fire.errors import DataError
from robench_fire.files import check_there, replaced

MARK = b"robench state 1\n"
"""The end of a file, behind its 32 bytes of SHA-256; files of before there was one have neither."""
EVERY = 300.0
"""Seconds between two saves within an epoch, unless a user says otherwise."""


class Saves:
    """When a state is to be saved within an epoch, and how: ``every`` so many seconds, by a clock that nobody sets.

    A save that takes long is made less often, so that saving takes at most one part in a hundred of the time; but
    every 0 seconds is before every step.
    """

    def __init__(self, write: Callable[[], None], every: float = EVERY) -> None:
        self._write, self._every = write, every
        self._next = time.monotonic() + every

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._next

    def save(self) -> None:
        """Save now."""
        began = time.monotonic()
        self._write()
        took = time.monotonic() - began
        self._next = began + took + (max(self._every, 100 * took) if self._every else 0)


NEVER = Saves(lambda: None, float("inf"))
"""Of a training that keeps nothing."""


PREVIOUS = ".previous"
"""The ending of the file before the newest one."""


def previous(path: Path) -> Path:
    """Where the file before the newest one is kept."""
    return path.with_name(f"{path.name}{PREVIOUS}")


def write(path: Path, plain: dict[str, Any]) -> None:
    """Save atomically; what was at ``path`` is kept beside it, once the new file has been read back.

    Raises:
        OSError: if it cannot be written; nothing is changed.
        DataError: if its folder is gone, in which there was more than a state.
    """
    check_there(path.parent)
    with replaced(path) as partial:
        with open(partial, "wb") as file:
            summed = _Summed(file)
            try:
                torch.save(plain, cast("IO[bytes]", summed))  # which is only written to
            except RuntimeError as fault:  # also where the disk is full, which it hides
                raise summed.fault or fault from None
            file.write(summed.digest.digest() + MARK)
        _checked(partial)
        if path.exists():
            os.replace(path, previous(path))


def there(path: Path) -> bool:
    """Whether there is a state to continue from."""
    return path.exists() or previous(path).exists()


def read(path: Path, device: torch.device, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The newest state that is whole; ``say`` hears if that is the one before the last.

    Raises:
        DataError: if neither can be read.
    """
    faults = []
    for each in (path, previous(path)):
        if not each.exists():
            continue
        try:
            found = _read(each, device)
        except DataError as fault:
            faults.append(fault)
            continue
        if each != path:
            say(f"{faults[0] if faults else f'{path} is gone'}: continuing from the state before it")
        return found
    raise DataError(f"{faults[0] if faults else f'{path} is gone'}; move {path}* away to train anew")


def reached(plain: dict[str, Any]) -> tuple[int, int]:
    """Epochs that are finished, and steps of the one under way."""
    return len(plain["curve"]), (plain.get("epoch") or {"done": 0})["done"]


class _Summed:
    """A file that is only written to, the SHA-256 of what was written, and why it could not be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()
        self.fault: OSError | None = None

    def write(self, part: bytes) -> int:
        self.digest.update(part)
        try:
            return self._file.write(part)
        except OSError as fault:
            self.fault = fault
            raise

    def flush(self) -> None:
        self._file.flush()


def _checked(path: Path) -> int:
    """How many bytes of the file are torch's.

    Raises:
        DataError: if it is not what was written.
    """
    behind = hashlib.sha256().digest_size + len(MARK)
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - behind, 0))
        given = file.read()
        if not given.endswith(MARK):
            return size
        file.seek(0)
        digest, left = hashlib.sha256(), size - behind
        while left and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    if digest.digest() != given[: -len(MARK)]:
        raise DataError(f"{path} is damaged")
    return size - behind


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        size = _checked(path)
        with open(path, "rb") as file:
            content = io.BytesIO(file.read(size))
        state: dict[str, Any] = torch.load(content, map_location=device, weights_only=True)
    except DataError:
        raise
    except Exception as fault:  # whatever torch raises on a broken file, it is unreadable
        raise DataError(f"{path} cannot be read ({type(fault).__name__})") from None
    return state
