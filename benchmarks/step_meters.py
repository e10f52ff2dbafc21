"""What one training step takes: seconds, and memory at its peak."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch

from robench_fire.devices.device import wait

Step = Callable[[], object]


def took(step: Step, device: torch.device) -> float:
    """Seconds of a step."""
    started = time.perf_counter()
    step()
    wait(device)
    return time.perf_counter() - started


def _status(field: str) -> int:
    """A size of this process in bytes, as Linux keeps it: VmRSS, VmHWM."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(field))
    return int(line.split()[1]) * 1024


def peak(make: Callable[[], Step], device: torch.device) -> float:
    """MB at the peak of two steps beyond what is there before them; on a GPU with the model itself."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        before, step = torch.cuda.memory_allocated(device), make()
    else:
        step = make()
        ctypes.CDLL(None).malloc_trim(0)  # give back what loading the data took
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _status("VmRSS")
    for _ in range(2):
        took(step, device)
    most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")
    return (most - before) / 1e6
