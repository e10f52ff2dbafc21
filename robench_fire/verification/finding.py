"""What was checked of a file, and how a disagreement is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from robench_fire.errors import RobenchError


class Finding(NamedTuple):
    """``what`` was checked of ``file``. ``passed``: None where nothing was recorded, or it is not here.

    ``found``: what it was checked against; the values that disagree; or what is missing.
    """

    what: str
    file: str
    passed: bool | None
    found: str


def listed(what: str, file: Path, wrong: list[str], right: str) -> Finding:
    """It disagrees if anything is ``wrong``."""
    return Finding(what, str(file), not wrong, "; ".join(wrong) or right)


def lacking(what: str, file: Path, found: str) -> Finding:
    """It could not be checked."""
    return Finding(what, str(file), None, found)


def unlike(pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """What is not as it should be, of (found, expected) by name."""
    return [f"{name} is {found}, not {expected}" for name, (found, expected) in pairs.items() if found != expected]


def far(pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """As unlike, of numbers that two versions of a library may round otherwise; None where there is no number."""
    return unlike({name: pair for name, pair in pairs.items() if not _near(*pair)})


def _near(one: Any, other: Any) -> bool:
    return one == other or (None not in (one, other) and abs(one - other) <= 1e-9 * max(1.0, abs(other)))


def numbers_apart(name: str, said: str, made: str) -> list[str]:
    """Where two texts, which another version may word otherwise, do not say the same numbers in turn."""
    given, wanted = (re.findall(r"\d+(?:[.,/]\d+)*", text) for text in (said, made))
    if given == wanted:
        return []
    pairs = zip_longest(given, wanted, fillvalue="nothing")
    one, other = next(pair for pair in pairs if pair[0] != pair[1])
    return [f"{name} says {one} where its rows give {other}"]


def tried(what: str, file: Path, step: Callable[[], list[Finding]]) -> list[Finding]:
    """What a step found; where it broke on what it read, that: a file that cannot be read disagrees."""
    try:
        return step()
    except RobenchError as fault:
        return [Finding(what, str(file), False, str(fault).removeprefix(f"{file} "))]
    except Exception as fault:  # whatever a changed file makes readers raise
        said = (str(fault).strip().splitlines() or [""])[0][:200]
        return [Finding(what, str(file), False, f"it cannot be read ({type(fault).__name__}: {said})")]
