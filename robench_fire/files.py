"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock

from robench_fire import stopping
from robench_fire.errors import DataError, UsageError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that is flushed to the disk and takes its place when the body succeeds.

    Whoever may read other new files may read it, also where the body writes with a library that thinks otherwise. The
    body should write it by itself: some libraries rename a file of their own, which a killed process leaves behind.

    Raises:
        OSError: if it cannot be written, naming ``path``; what was there stays.
        DataError: if its folder was removed meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    here = f".{path.name}.{socket.gethostname()}"
    partial = path.with_name(f"{here}.{os.getpid()}.partial")
    with stopping.deferred():
        _swept(path.parent, here)
        try:
            partial.touch()
            mode = partial.stat().st_mode
            partial.unlink()  # so that a body that writes nothing replaces nothing
            yield partial
            partial.chmod(mode)
            with open(partial, "rb") as written:
                os.fsync(written.fileno())
            os.replace(partial, path)
            _settled(path.parent)
        except OSError as fault:
            check_there(path.parent)
            if fault.filename in (None, str(partial)):  # where bytes are written, no name is said
                fault.filename = str(path)
            raise
        finally:
            partial.unlink(missing_ok=True)


def check_there(folder: Path) -> None:
    """Refuse to go on where the folder that is worked on is gone.

    Raises:
        DataError: if it is.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} was removed while it was worked on; the same command begins anew") from None


def _swept(folder: Path, here: str) -> None:
    """Remove what killed processes of this machine left half-written of a file."""
    for left in folder.glob(f"{glob.escape(here)}.*.partial"):
        number = left.suffixes[-2][1:]
        if number.isdecimal() and not _at_work(int(number)):
            left.unlink(missing_ok=True)


def _at_work(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True


def _settled(folder: Path) -> None:
    """Let a folder's entries reach the disk, where that can be said: a power cut could undo a renaming."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError:  # some network file systems
            pass
        finally:
            os.close(handle)


NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What some network file systems answer."""


@contextmanager
def held(lock_file: Path, busy: str, unwritable: str, fix: str = "") -> Iterator[None]:
    """Hold ``lock_file`` against a second process. The system lets go of it when this one ends, however that is.

    Raises:
        UsageError: ``busy`` if another process holds it, with its number, machine and since when; ``unwritable``, the
            reason and ``fix`` if it cannot be made.
    """
    holder = lock_file.with_name(f"{lock_file.name}.by")  # who waits for the lock empties the file itself
    lock = filelock.FileLock(lock_file, timeout=0)
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where the system knows no locks: it makes do with a file of its own
            lock.acquire()
    except filelock.Timeout:
        raise UsageError(busy.replace("another process", f"another process{_said_by(holder)}", 1)) from None
    except OSError as fault:
        said = f"its file system has no locks ({fault.strerror})" if fault.errno in NO_LOCKS else fault.strerror
        raise UsageError(f"{unwritable}: {said}{fix}") from None
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    try:
        with suppress(OSError):  # of a full disk others will hear elsewhere
            holder.write_text(f"{os.getpid()} on {socket.gethostname()} since {since}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _said_by(holder: Path) -> str:
    """Who holds a lock, as far as that is known."""
    try:
        return f" ({holder.read_text(encoding='utf-8')})" if holder.stat().st_size else ""
    except OSError:
        return ""


def sha256(path: Path) -> str:
    """A file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


SEAL = "seal"
"""Key of a JSON file's own digest, of everything else in it."""


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value in its canonical text: however it is indented, and in whatever order keys stand."""
    plain = json.loads(json.dumps(value))
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its own digest, so that a later change of the file is noticed; see folders.read_sealed."""
    rest = {name: each for name, each in value.items() if name != SEAL}
    return rest | {SEAL: digest(rest)}


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def as_json(value: Any) -> str:
    """A JSON file's text; NaN and infinity are refused, as they are not JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, as_json(value))
