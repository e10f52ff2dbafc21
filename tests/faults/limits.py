"""Limits that a process is put under before it begins: called in it."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from typing import Any

from moments import quick

DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2  # capabilities by which root writes and reads whatever it likes
VERSION_3 = 0x20080522  # of the struct that capabilities are asked with


def file_size(size: int) -> None:
    """No file may become larger, as on a disk without room."""
    quick()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def few_files(free: int) -> None:
    """Only so many more may be open."""
    quick()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    taken = []
    with suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    for file in taken[:free]:
        os.close(file)


def little_memory(more: int) -> None:
    """Only so many bytes more than it has."""
    quick()
    with open("/proc/self/statm") as told:
        has = int(told.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + more, has + more))


def no_rights() -> None:
    """What folders say of who may write holds, also for root."""
    quick()
    if os.geteuid():
        return
    system = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if system.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for place in range(3):  # effective, permitted, inheritable
        sets[place] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    if system.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def no_locks(number: int) -> None:
    """Files cannot be locked, as on some network file systems."""
    quick()

    def refused(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.flock = refused  # type: ignore[assignment]


def clock_runs_back() -> None:
    """The time of day is an hour earlier whenever it is asked."""
    quick()
    now: Callable[[], float] = time.time
    hours = itertools.count()
    time.time = lambda: now() - 3600 * next(hours)


def removed_runs(file: str) -> None:
    """Results are removed right before such a file takes its place."""
    quick()

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event == "os.rename" and fnmatch(os.path.basename(given[1]), file) and os.path.exists("runs"):
            shutil.rmtree("runs")

    sys.addaudithook(heard)
