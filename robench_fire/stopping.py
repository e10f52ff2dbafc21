"""Signals to stop, and a time limit: the first lets work end between two steps, a second ends it where it is.

They are Ctrl-C, SIGTERM and SIGUSR1. One is noted, in memory that worker processes share. Work asks (``check``) before
each of its steps. Where a step must not be cut (``deferred``) nothing else happens; elsewhere the signal raises
``Stopped`` at once.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes import c_int
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
PATIENCE = 20.0  # seconds in which other processes may end their step; batch systems and torchrun give all of us 30
ECHO = 0.5  # seconds in which the same signal may come twice: from the terminal, and passed on by a wrapper
UNWINDING = 3.0  # seconds that a second signal leaves for files half-written and the terminal

_noted: Any = c_int(0)  # the first signal's number
_last = 0.0  # when a signal came that counted
_twice = False
_deferrals = 0
_limit = ""  # the time limit of one's own that is over


class Stopped(BaseException):
    """A signal, by its number; not a SystemExit, which a plug-in's import may raise too."""

    @property
    def exit_code(self) -> int:
        return exit_code(self.args[0])


class InVain(Stopped):
    """A signal that came before anything was kept, by its number, and what is said of it.

    Where the time limit is the command's own, the same command would end there again: that is no resumable end.
    """

    @property
    def exit_code(self) -> int:
        return 2 if _limit else super().exit_code

    def __str__(self) -> str:
        if _limit:
            return f"--time-limit {_limit} was over before {self.args[1]}; give more"
        return f"interrupted before {self.args[1]}; where a time limit did it, give more"


def exit_code(signum: int) -> int:
    """130 for Ctrl-C, 75 for the others."""
    return 130 if signum == signal.SIGINT else 75


def listen() -> None:
    """From now on Ctrl-C and SIGTERM act as this module says, and no process is left when this one ends."""
    atexit.register(_at_exit)  # before multiprocessing and others register their own, so that it comes after these
    sys.unraisablehook = _swallowed
    for signum in SIGNALS:
        signal.signal(signum, _heard)


def after(seconds: float, text: str) -> None:
    """Stop this process as SIGTERM does, after so many seconds: a time limit of its own, written as ``text``."""

    def end() -> None:
        global _limit
        _limit = "" if asked() else text
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def over() -> None:
    """The command is done or has said why not; a signal that comes now ends the process without a word."""
    for signum in SIGNALS:
        signal.signal(signum, _late)


def asked() -> int:
    """The number of the signal that asked to stop; 0 if none has."""
    return int(_noted.value)


def check() -> None:
    """To be called between two steps.

    Raises:
        Stopped: if a signal came.
    """
    if signum := asked():
        raise Stopped(signum)


@contextmanager
def deferred() -> Iterator[None]:
    """A signal raises nothing in the body, but where that calls ``check``, and when it is left."""
    global _deferrals
    _deferrals += 1
    try:
        yield
    finally:
        _deferrals -= 1
    if not _deferrals:
        check()


@contextmanager
def fatal() -> Iterator[None]:
    """A signal ends this process even where Python does not run: while it waits and has nothing to lose."""
    before = [(signum, signal.signal(signum, signal.SIG_DFL)) for signum in SIGNALS]
    try:
        yield
    finally:
        for signum, handler in before:
            signal.signal(signum, handler)


@contextmanager
def heeded(signum: signal.Signals) -> Iterator[None]:
    """One signal is heeded in the body, of a process that is not ours otherwise; the body is left without a word."""
    global _twice
    _noted.value, _twice = 0, False
    before = signal.signal(signum, _heard)
    try:
        yield
    except Stopped:
        pass
    finally:
        signal.signal(signum, before)
        _noted.value = 0


@contextmanager
def visiting(said: str) -> Iterator[None]:
    """In the body, of a notebook or somebody's script: one Ctrl-C lets the step end, a second one does not wait.

    Other threads than the main one hear no signal, and nothing changes there.

    Raises:
        KeyboardInterrupt: with what is ``said``, after a Ctrl-C; the process itself is never ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _noted.value = 0
    before = signal.signal(signal.SIGINT, _heard_visiting)
    try:
        yield
    except Stopped:
        raise KeyboardInterrupt(said) from None
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)  # none that Python knows, of a program around it
        _noted.value = 0


@contextmanager
def unheard() -> Iterator[None]:
    """Processes started in the body hear no signal until they ``follow``; what comes meanwhile comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def shared(context: Any) -> Any:
    """The note of the signal, in memory that the processes of a multiprocessing ``context`` can be given."""
    global _noted
    mine, _noted = _noted, context.RawValue(c_int, 0)
    _noted.value = _noted.value or mine.value
    return _noted


def follow(noted: Any) -> None:
    """In a worker process: heed its parent's note, as a terminal's Ctrl-C comes to both, and SIGTERM may."""
    global _noted
    _noted = noted
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _heard(signum: int, frame: FrameType | None) -> None:
    global _last, _twice
    if _is_echo():
        return
    first, _last = not asked(), time.monotonic()
    if first:
        _noted.value = signum
        if _deferrals:
            return
    elif _twice:
        _leave()
    else:
        _twice = True
        _end_children()
        threading.Thread(target=_leave_soon, daemon=True).start()
    raise Stopped(_noted.value)


def _swallowed(fault: Any) -> None:
    """Python drops what is raised where an object is destroyed; a signal that was heard there is still noted."""
    if not isinstance(fault.exc_value, Stopped):
        sys.__unraisablehook__(fault)


def _at_exit() -> None:
    """Wait for the process in which multiprocessing counts semaphores, as recent Pythons do by themselves."""
    for signum in SIGNALS:  # Python undoes other handlers next, and a signal would change the exit code
        signal.signal(signum, signal.SIG_IGN)
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        with suppress(Exception):
            tracker._resource_tracker._stop()


def _end_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()


def _leave_soon() -> None:
    time.sleep(UNWINDING)
    _leave()


def _heard_visiting(signum: int, frame: FrameType | None) -> None:
    global _last
    if _is_echo():
        return
    if asked():
        raise KeyboardInterrupt
    _noted.value, _last = signum, time.monotonic()
    if not _deferrals:
        raise Stopped(signum)


def _late(signum: int, frame: FrameType | None) -> None:
    if not _is_echo():
        _noted.value = _noted.value or signum
        _leave()


def _is_echo() -> bool:
    return bool(asked()) and time.monotonic() - _last < ECHO


def _leave() -> None:
    _end_children()
    os._exit(exit_code(asked()))
