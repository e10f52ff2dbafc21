"""Worker processes that share the cores, stop when their parent is told to and do not outlive it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any

from robench_fire import stopping

CONTEXT = multiprocessing.get_context("spawn")

MOST = 8  # processes, unless more are asked for: each needs memory of its own
IDLE_SECONDS = 5.0  # in which a process without work should have ended
LOOK_SECONDS = 0.2  # between two looks at how far the work is
DIED = "its worker process died (out of memory?); the same command continues, try --jobs 1"

Submit = Callable[..., "Future[Any]"]
"""(function, values) to the future of its result in a worker process."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def useful(jobs: int, tasks: int, device: str) -> int:
    """How many processes to use for ``tasks`` where ``jobs`` are asked for; 0 lets the device decide."""
    return min(jobs or (1 if device.startswith("cuda") else min(cores(), MOST)), tasks)


@contextmanager
def pool(jobs: int, begin: Callable[..., None], *values: Any) -> Iterator[Submit]:
    """``jobs`` processes, each set up by ``begin(*values)``; all have ended when the body is left.

    A signal is deferred in the body: ``ended`` says there what that means for the workers.
    """
    before, futures = set(multiprocessing.active_children()), list[Future[Any]]()
    with stopping.deferred():
        setting_up = (max(1, cores() // jobs), stopping.shared(CONTEXT), begin, values)
        executor = ProcessPoolExecutor(jobs, CONTEXT, _begin, setting_up)

        def submit(function: Callable[..., Any], *given: Any) -> Future[Any]:
            with stopping.unheard(), _program_unseen():  # which starts processes
                futures.append(executor.submit(_work, function, *given))
            return futures[-1]

        try:
            yield submit
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            idle = all(each.done() and not isinstance(each.exception(), BrokenProcessPool) for each in futures)
            deadline = time.monotonic() + (IDLE_SECONDS if idle else 0)
            for child in set(multiprocessing.active_children()) - before:
                child.join(max(0.0, deadline - time.monotonic()))
                child.kill()  # whatever it is doing: what it finished stays
                child.join()


@contextmanager
def _program_unseen() -> Iterator[None]:
    """Processes started in the body do not import the program that started them: nothing of it is theirs to do.

    Else a script that trains where it stands, without ``if __name__ == "__main__"``, would begin again in each.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    try:
        for name in kept:
            setattr(main, name, None)
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


def ended(futures: Collection[Future[Any]], look: Callable[[], None] = lambda: None) -> Iterator[Future[Any]]:
    """Futures of a pool as they end; ``look`` is called now and then. After a signal: those whose step ends soon.

    Raises:
        Stopped: after a signal, once all have ended or PATIENCE is over.
    """
    left, deadline = set(futures), float("inf")
    while left and time.monotonic() < deadline:
        done, left = wait(left, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        yield from (each for each in done if not isinstance(each.exception(), stopping.Stopped))
        if stopping.asked():
            deadline = min(deadline, time.monotonic() + stopping.PATIENCE)
        look()
    stopping.check()


def _begin(threads: int, noted: Any, begin: Callable[..., None], values: tuple[Any, ...]) -> None:
    stopping.follow(noted)
    threading.Thread(target=_follow_parent, daemon=True).start()
    if stopping.asked():  # before anything that takes long is imported
        return
    # torch.compile would start processes of its own, which are still there when this one is killed
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    import torch

    torch.set_num_threads(threads)
    with suppress(stopping.Stopped):  # no task is begun after it
        begin(*values)


def _work(function: Callable[..., Any], *given: Any) -> Any:
    stopping.check()
    return function(*given)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(75)
