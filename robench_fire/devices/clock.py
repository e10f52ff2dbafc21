"""An honest clock: device time between events, synchronised only when it is read."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds per named section; CUDA events on a GPU, the performance counter elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time the body under ``name``; sections may repeat but not nest."""
        if self._cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._pending.append((name, begin, end))
        else:
            started = time.perf_counter()
            yield
            self._seconds[name] += time.perf_counter() - started

    def read(self) -> dict[str, float]:
        """Seconds per section so far; waits for the device."""
        if self._pending:
            torch.cuda.synchronize()
        for name, begin, end in self._pending:
            self._seconds[name] += begin.elapsed_time(end) / 1000
        self._pending.clear()
        return dict(self._seconds)
