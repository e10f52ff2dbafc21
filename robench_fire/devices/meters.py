"""What a device can do and what it spends: its rate of matrix products, its energy, its memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear

from robench_fire.devices.clock import Clock
from robench_fire.devices.precision import SHORT, Format, rounding

SIZES = {"cuda": (2048, 8192), "cpu": (256, 1024)}  # the small one is for devices that take long, or are full
LONGEST = 0.2  # seconds that one product may take


def matmul_rate(device: torch.device, chosen: Format) -> float:
    """FLOP/s of square matrix products in one format: the best of several products, of two sizes; 0 without memory."""
    best = 0.0
    for size in SIZES[device.type]:
        if best and 2 * size**3 / best > LONGEST:
            break
        try:
            took = min(_seconds(product, device, chosen) for product in _products(size, device, chosen))
        except RuntimeError:  # no memory, which cuBLAS says in its own words
            break
        best = max(best, 2 * size**3 / took)
    return best


def _products(size: int, device: torch.device, chosen: Format) -> list[Callable[[], Tensor]]:
    """torch's matrix product; on a CPU also oneDNN's, the library of the convolutions.

    torch.mm of float32 is MKL's there, which reaches less than half of it on some processors: a training's utilisation
    would exceed 100 %.
    """
    left, right = torch.rand(2, size, size, device=device).to(SHORT.get(chosen, torch.float32))
    found: list[Callable[[], Tensor]] = [partial(torch.mm, left, right)]
    if device.type == "cpu" and chosen == "fp32" and torch.backends.mkldnn.is_available():
        parts = (each.to_mkldnn() for each in (left, right, torch.zeros(size)))
        found.append(partial(linear, *parts))
    return found


def _seconds(product: Callable[[], Tensor], device: torch.device, chosen: Format) -> float:
    """The shortest of several products."""
    took: list[float] = []
    with rounding(chosen), torch.no_grad():
        product()  # the first call of a process pays for loading libraries
        ends = time.perf_counter() + 0.2
        while len(took) < 3 or (len(took) < 20 and time.perf_counter() < ends):
            clock = Clock(device)
            with clock.section("product"):
                product()
            took.append(clock.read()["product"])
    return min(took)


def peak_memory(device: torch.device) -> int | None:
    """Bytes: on a GPU the most that tensors held since the last reset; on a CPU the process's peak resident set.

    The latter is of the whole process since it began, with libraries, data and whatever ran in it before. None where
    the platform does not say (Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def energy_counter(device: torch.device) -> Callable[[], float] | None:
    """A function that reads a GPU's energy counter, in joules; None without a GPU that has one, or without pynvml.

    The counter is the whole board's, from when its driver was loaded: other processes on it, and idling, count too.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # by its UUID: NVML counts boards in another order than CUDA, and knows nothing of CUDA_VISIBLE_DEVICES
        board = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(board)
    except pynvml.NVMLError:  # a part of a board, an old board, no permission
        return None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(board)) / 1000
