"""How a call speaks where there is no command line: errors in the words of Python, progress where it is wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from robench_fire import stopping
from robench_fire.errors import RobenchError
from robench_fire.launching import progress_display
from robench_fire.launching.bench import Say
from robench_fire.progress import Event, Listen, Listening

Source = str | os.PathLike[str]
"""A file or a folder, by its path; also the runs that ``train`` returns."""
ARGUMENTS = {"attack": "attacks", "no-eval": "attacks=()", "seed": "seeds", "compile": "compiling"}
"""Options whose argument has another name."""
KEPT = "interrupted; what was finished is kept, the same call continues"


@contextmanager
def called(interrupted: str = "interrupted") -> Iterator[None]:
    """The body of a call: Ctrl-C lets its step end, and errors name arguments where they named a command's options.

    Raises:
        RobenchError: of the body.
        KeyboardInterrupt: after a Ctrl-C, saying ``interrupted``.
    """
    try:
        with stopping.visiting(interrupted):
            yield
    except RobenchError as fault:
        fault.args = (reworded(str(fault)),)
        raise


def reworded(text: str) -> str:
    """An error's line with arguments in the place of options; whole commands, in backticks, stay as they are."""
    parts = text.replace("the same command", "the same call").split("`")
    parts[::2] = [re.sub(r"(?<![\w-])--([a-z][a-z-]*)", _argument, part) for part in parts[::2]]
    return "`".join(parts)


def _argument(found: re.Match[str]) -> str:
    return ARGUMENTS.get(found[1], found[1].replace("-", "_"))


def voices(progress: bool) -> tuple[Listening, Say]:
    """What shows progress and what says a sentence: on stderr, or nowhere."""
    return (progress_display.listening, progress_display.say) if progress else (_deaf, lambda text: None)


@contextmanager
def _deaf(total: int, what: str) -> Iterator[Listen]:
    yield _unheard


def _unheard(event: Event) -> None:
    pass


def pairs(settings: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Paths and values as a command line has them: ``{"defense.lam": 6}`` is ("defense.lam", "6")."""
    return [(path, _written(value)) for path, value in (settings or {}).items()]


def _written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_written, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
