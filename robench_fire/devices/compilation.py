"""torch.compile where it is wanted and works."""

from __future__ import annotations

import atexit
import getpass
import logging
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
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


CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Names the folder in which torch's compiler keeps what it made, for later processes too."""


def keep_what_is_compiled() -> None:
    """Where torch's folder for it cannot be written, name one that is there until this process ends, and say so.

    torch makes the folder when its compiler is imported, and deterministic algorithms are enough for that: without
    this, nothing could be trained at all.
    """
    folder = Path(os.environ.get(CACHE) or _usual_cache())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as fault:
        os.environ[CACHE] = own = tempfile.mkdtemp(prefix="robench-compiled-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        said = f"{folder} cannot be written ({fault.strerror}), so what torch compiles is kept until this ends"
        print(f"robench: {said}; {CACHE} names another folder", file=sys.stderr, flush=True)


def _usual_cache() -> Path:
    """Where torch keeps it by itself."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    return Path(tempfile.gettempdir(), "torchinductor_" + re.sub(r'[\\/:*?"<>|]', "_", user))


def _allow_many() -> None:
    """Let one function be compiled for many methods, formats and sizes: past torch's limit it runs as it is, unsaid."""
    config = torch._dynamo.config
    for name in ("recompile_limit", "accumulated_recompile_limit", "cache_size_limit", "accumulated_cache_size_limit"):
        if hasattr(config, name):  # the latter two before torch 2.7
            setattr(config, name, max(1024, getattr(config, name)))


class Compiled:
    """A function that is compiled when it is called; where that fails, the function itself, and ``say`` hears why.

    Each new shape or format of its values compiles it anew, so that any call may be the one that fails. ``working``:
    whether none has.
    """

    def __init__(self, function: Callable[..., Any], say: Say) -> None:
        self._function, self._say, self.working = function, say, True
        keep_what_is_compiled()
        _allow_many()
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
