"""Worker processes that share the cores, leave Ctrl-C to their parent and do not outlive it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

CONTEXT = multiprocessing.get_context("spawn")

MOST = 8  # processes, unless more are asked for: each needs memory of its own
DIED = "its worker process died (out of memory?); the same command continues, try --jobs 1"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def useful(jobs: int, tasks: int, device: str) -> int:
    """How many processes to use for ``tasks`` where ``jobs`` are asked for; 0 lets the device decide."""
    return min(jobs or (1 if device.startswith("cuda") else min(cores(), MOST)), tasks)


@contextmanager
def pool(jobs: int, begin: Callable[..., None], *values: Any) -> Iterator[ProcessPoolExecutor]:
    """``jobs`` processes, each set up by ``begin(*values)``; ended when the body is left, whatever they are doing."""
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(jobs, CONTEXT, _begin, (max(1, cores() // jobs), begin, values))
    try:
        yield executor
    finally:  # also on Ctrl-C and SIGTERM: whatever a worker finished stays, and nothing runs on
        executor.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()


def _begin(threads: int, begin: Callable[..., None], values: tuple[Any, ...]) -> None:
    # torch.compile would start processes of its own, which are still there when this one is terminated
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    begin(*values)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(75)
