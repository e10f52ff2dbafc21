"""torch.compile where it is wanted and works."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch

Say = Callable[[str], None]


def once(say: Say) -> Say:
    """``say``, which hears the first text only: one line says enough of a compiler that is missing."""
    said: list[str] = []

    def first(text: str) -> None:
        if not said:
            said.append(text)
            say(text)

    return first


class Compiled:
    """A function that is compiled when it is called; where that fails, the function itself, and ``say`` hears why.

    Each new shape or format of its values compiles it anew, so that any call may be the one that fails. ``working``:
    whether none has.
    """

    def __init__(self, function: Callable[..., Any], say: Say) -> None:
        self._function, self._say, self.working = function, say, True
        self._compiled: Callable[..., Any] = torch.compile(function, dynamic=False)
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that a CPU is no GPU

    def __call__(self, *values: Any) -> Any:
        if not self.working:
            return self._function(*values)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler's own imports
                return self._compiled(*values)
        except torch.OutOfMemoryError:  # not the compiler's fault
            raise
        except Exception as fault:
            self.working = False
            result = self._function(*values)  # raises what the function itself raises
            reason = str(fault).strip().split("\n")[0][:200]
            self._say(f"not compiled ({type(fault).__name__}: {reason}); training goes on without")
            return result
