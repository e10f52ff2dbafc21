"""Errors a user can act on: one or two lines that name the value, the choices and the fix, and an exit code."""

from __future__ import annotations

import difflib
import errno
import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

OWN_FILE = "robench_user_"
"""How the name of a module begins that is a file of the user's own."""


class RobenchError(Exception):
    """Base of every error that is reported without a traceback."""

    exit_code = 1


class UsageError(RobenchError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class RecipeError(RobenchError):
    """A recipe or an override that cannot be run."""

    exit_code = 3


class GivenWeightsError(RecipeError):
    """A defense that needs weights of the user's, where none are given."""


class DataError(RobenchError):
    """Data or a checkpoint is missing, corrupt, or not what it claims to be."""

    exit_code = 4


class DivergedError(RobenchError):
    """Training met a non-finite loss."""

    exit_code = 5


class UnreliableError(RobenchError):
    """An evaluation that cannot be believed, where that was asked to be an error."""

    exit_code = 6


class DisagreesError(RobenchError):
    """Something that does not agree with what is claimed of it: a submission, or a row beside published figures."""

    exit_code = 7


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """The sentence for an unknown name: the nearest match first, then every choice."""
    listed = sorted(choices)
    near = difflib.get_close_matches(name, listed, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {kind} {name!r}: {hint}choose from {', '.join(listed)}"


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal acts on instead of showing them, or that turn the direction of what follows."""


def printable(text: str) -> str:
    r"""A text with such characters written out, "\x1b[31m", so that a name moves no cursor and changes no colour."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def shortened(text: str) -> str:
    """A message without the middle of its longest lines, where what was given is endless."""
    half = _LONG // 2
    lines = text.split("\n")
    return "\n".join(line if len(line) <= _LONG else f"{line[:half]} ... {line[-half:]}" for line in lines)


def raise_failed(failed: Mapping[str, RobenchError], runs: int) -> None:
    """Say which of so many runs failed, if any did.

    Raises:
        RobenchError: of the kind of the first one.
    """
    if failed:
        name, fault = next(iter(failed.items()))
        raise type(fault)(f"{len(failed)} of {runs} runs failed; {name}: {fault}")


ROOM, HANDLES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (errno.EMFILE, errno.ENFILE)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_MEMORY = ("Cannot allocate memory", "failed to map segment", "can't allocate memory")
"""What is said of it where a library cannot be loaded, and by torch."""
_ELSEWHERE = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What a system says of paths that lead to no file: no defect of ours."""
_LONG = 1_000  # characters of a line, of which both ends say more than the middle


def unexpected(fault: Exception) -> RobenchError:
    """What is said of any error: one of ours as it is; in a file of the user's, where it is; else its kind."""
    if isinstance(fault, RobenchError):
        return fault
    if isinstance(fault, OSError) and (said := _of_system(fault)):
        return said
    lines = str(fault).strip().splitlines()
    if isinstance(fault, MemoryError) or any(text in line for text in NO_MEMORY for line in lines[:1]):
        return RobenchError("out of memory; use a smaller --batch-size, fewer --jobs, or end other programs")
    said_of_it = in_a_line(fault)
    if where := located(fault):
        return RecipeError(f"{where}: {said_of_it}")
    return RobenchError(f"unexpected {said_of_it}; `robench --debug ...` shows where")


def _of_system(fault: OSError) -> RobenchError | None:
    """What is said where the disk is full, files are too many, or a place is not the user's."""
    where = f"{fault.filename}: " if fault.filename else ""
    if fault.errno in ROOM:
        return DataError(f"cannot write {where}{fault.strerror}; make room, the same command continues")
    if fault.errno in HANDLES:
        return RobenchError(f"{where}{fault.strerror}; allow more (`ulimit -n 4096`), the same command continues")
    if fault.errno in FORBIDDEN:
        return UsageError(f"{where}{fault.strerror}; choose another place, or make this one yours to use")
    if fault.errno in _ELSEWHERE and fault.filename:
        kind = UsageError if fault.errno == errno.ENAMETOOLONG else DataError
        return kind(f"{fault.filename}: {fault.strerror}")
    return None


ASK = "ask its owner for the right to, or leave it out"
"""What to do about a file or folder of another user's that may not be read."""


def refuse_closed(fault: OSError) -> None:
    """Nothing, unless it is that a place may not be read.

    Raises:
        UsageError: naming it.
    """
    if fault.errno in FORBIDDEN:
        raise UsageError(f"{fault.filename} cannot be read: {fault.strerror}; {ASK}") from None


def in_a_line(fault: BaseException) -> str:
    """The kind of any error, and the first line of what it says, not endlessly."""
    lines = str(fault).strip().splitlines()
    return ": ".join([type(fault).__name__, *(line[:300] for line in lines[:1])])


def unwritten(path: Path, fault: OSError) -> RobenchError:
    """What is said where ``path`` cannot be written; what was there stays."""
    fault.filename = fault.filename or str(path)
    usual = DataError(f"cannot write {path}: {fault.strerror}; the same command continues")
    return _of_system(fault) or usual


def located(fault: BaseException) -> str:
    """Where a file of the user's was when this was raised, and what it was called for: "mine.py:12, outer"; or ""."""
    own = [
        (frame.f_code, line) for frame, line in traceback.walk_tb(fault.__traceback__)
        if str(frame.f_globals.get("__name__", "")).startswith(OWN_FILE)
        and frame.f_code.co_filename != "<string>"  # what dataclasses generate
    ]  # fmt: skip
    if not own:
        return ""
    called, (inner, line) = own[0][0].co_name, own[-1]
    return f"{Path(inner.co_filename).name}:{line}" + ("" if called == "<module>" else f", {called}")
