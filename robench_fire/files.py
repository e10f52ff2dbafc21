"""Files appear whole or not at all; and what is believed of those that others wrote."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import socket
import zipfile
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
LEASE = 60.0  # seconds in which the holder of a lease touches it three times


@contextmanager
def held(lock_file: Path, busy: str, unwritable: str, fix: str = "") -> Iterator[None]:
    """Hold ``lock_file`` against a second process. The system lets go of it when this one ends, however that is.

    Where the system knows no such locks at all, a file stands for one: it is taken over once it is seen not to be
    touched any more, or its process is gone from this machine.

    Raises:
        UsageError: ``busy`` if another process holds it, with its number, machine and since when; ``unwritable``, the
            reason and ``fix`` if it cannot be made.
    """
    holder = lock_file.with_name(f"{lock_file.name}.by")  # who waits for the lock empties the file itself
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(lock_file)
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


def _acquired(lock_file: Path) -> filelock.BaseFileLock:
    lock: filelock.BaseFileLock = filelock.FileLock(lock_file, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as fault:
        if fault.errno != errno.ENOSYS:
            raise
        lease = lock_file.with_name(f"{lock_file.name}.lease")
        lock = filelock.SoftFileLease(lease, lease_duration=LEASE, timeout=1.5 * LEASE)
        lock.acquire()
    return lock


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
    return digest_of_read(json.loads(json.dumps(value)))


def digest_of_read(value: Any) -> str:
    """The same of a value that was read from JSON, whose keys are texts already."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its own digest, so that a later change of the file is noticed; see folders.read_sealed."""
    rest = {name: each for name, each in value.items() if name != SEAL}
    return rest | {SEAL: digest(rest)}


ROOM, TIMES = 1 << 28, 100
"""Bytes that a zip may unpack to whatever its size, and how many times its size otherwise."""


def refuse_bomb(path: Path) -> None:
    """Refuse a zip that says it holds far more than images or weights could be packed to.

    Raises:
        DataError: naming both sizes.
        Exception: whatever zipfile raises on a broken one.
    """
    with zipfile.ZipFile(path) as content:
        held, size = sum(each.file_size for each in content.infolist()), path.stat().st_size
    if held > max(ROOM, TIMES * size):
        raise DataError(
            f"{path} is of {size:,} bytes and unpacks to {held:,}: nothing worth reading is packed like that"
        )


def csv_cell(value: Any) -> Any:
    """A value as a CSV's cell that no spreadsheet takes for a formula: a text that begins like one after an apostrophe.

    Numbers, also as texts, stay as they are.
    """
    if not isinstance(value, str):
        return value
    value = re.sub("\r\n?", "\n", value)  # which writers put between quotes, and a bare \r not always
    if not re.match(r"\s*[=+\-@＝＋－＠]|[\t\n]", value):
        return value
    return value if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", value, re.IGNORECASE) else f"'{value}"


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
