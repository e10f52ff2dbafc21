"""The command line in this process, which is faster than an interpreter of its own."""

from __future__ import annotations

import sys

import pytest

from robench_fire.cli import main


def robench(patch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process; its exit code."""
    patch.setattr(sys, "argv", ["robench", *words])
    patch.setattr("signal.signal", lambda *_: None)
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0
