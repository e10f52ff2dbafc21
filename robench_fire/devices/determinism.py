"""The same bits from the same plan and seed: what torch, cuDNN and cuBLAS have to be told for that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from robench_fire.devices.compilation import keep_what_is_compiled
from robench_fire.errors import RecipeError

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
NO_SUCH_KERNEL = "does not have a deterministic implementation"  # how torch says so


def wanted(asked: bool | None, device: torch.device) -> bool:
    """What a user asks for; None: on a CPU, where it costs a run no more than its further threads.

    cuBLAS reads its own setting once, when it starts: it is told here, before anything computes.
    """
    found = device.type == "cpu" if asked is None else asked
    if found and device.type == "cuda":
        os.environ.setdefault(CUBLAS, ":4096:8")
    return found


def threads() -> int:
    """Of a deterministic training on a CPU: how many share a sum decides its last bits, so it is not what is free.

    One, unless the variable OMP_NUM_THREADS says how many.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdecimal() and int(said) else 1


@contextmanager
def deterministic(on: bool, device: torch.device, count: int) -> Iterator[None]:
    """In the body the same bits each time, where that is asked for (``on``), on a CPU by ``count`` threads.

    Afterwards everything is as it was.

    Raises:
        RecipeError: for an operator whose GPU kernel sums in no fixed order, naming it.
    """
    if not on:
        yield
        return
    memory: Any = torch.utils.deterministic
    cudnn, number = torch.backends.cudnn, torch.get_num_threads()
    before = cudnn.deterministic, memory.fill_uninitialized_memory
    mode, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    keep_what_is_compiled()
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, memory.fill_uninitialized_memory = True, False  # the latter only costs
        if device.type == "cpu":
            torch.set_num_threads(count)
        yield
    except RuntimeError as fault:
        if NO_SUCH_KERNEL not in str(fault):
            raise
        what = str(fault).partition(NO_SUCH_KERNEL)[0].strip()
        raise RecipeError(f"{what} does not come to the same bits each time here; use --no-deterministic") from None
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warn)
        cudnn.deterministic, memory.fill_uninitialized_memory = before
        torch.set_num_threads(number)
