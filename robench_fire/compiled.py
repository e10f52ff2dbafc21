"""torch.compile where it is wanted and works."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Say = Callable[[str], None]


def once(say: Say) -> Say:
    """``say``, which hears the first text only: what stops one compilation stops them all."""
    said: list[str] = []

    def first(text: str) -> None:
        if not said:
            said.append(text)
            say(text)

    return first


class Compiled:
    """A function compiled at its first call; where that fails, the function itself, and ``say`` hears why.

    ``working``: whether it has not failed.
    """

    def __init__(self, function: Callable[..., Any], say: Say) -> None:
        self._function, self._say, self.working = function, say, True
        self._chosen: Callable[..., Any] = torch.compile(function, dynamic=False)
        self._tried = False

    def __call__(self, *values: Tensor | None) -> Any:
        if self._tried:
            return self._chosen(*values)
        self._tried = True
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that a CPU is no GPU
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler's own imports
                return self._chosen(*values)
        except torch.OutOfMemoryError:  # not the compiler's fault
            raise
        except Exception as fault:
            self._chosen, self.working = self._function, False
            result = self._function(*values)  # raises what the function itself raises
            reason = str(fault).strip().split("\n")[0][:200]
            self._say(f"not compiled ({type(fault).__name__}: {reason}); training goes on without")
            return result
