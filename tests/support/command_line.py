"""The command line in this process, which is faster than an interpreter of its own."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.main import get_command

from robench_fire.cli import main
from robench_fire.devices import meters

COMMAND = cache(get_command)
"""Made anew for each command line it takes longer than most of what they refuse."""


def robench(*words: str) -> int:
    """Run ``robench WORDS``; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["robench", *words])
        patch.setattr("signal.signal", lambda *_: None)
        patch.setattr("typer.main.get_command", COMMAND)
        patch.setitem(meters.SIZES, "cpu", meters.SIZES["cpu"][:1])  # the larger product takes half a second
        try:
            main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0


class Ran(NamedTuple):
    """What a command wrote."""

    stdout: str
    stderr: str


def ran(folder: Path, *words: str, code: int = 0) -> Ran:
    """Run ``robench WORDS`` in ``folder``, to the exit code that is expected."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        ended = robench(*words)
    assert ended == code, err.getvalue()
    return Ran(out.getvalue(), err.getvalue())
