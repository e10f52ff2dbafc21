"""The command line in this process, which is faster than an interpreter of its own."""

from __future__ import annotations

import pytest

from robench_fire.cli import main


def robench(*words: str) -> int:
    """Run ``robench WORDS``; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["robench", *words])
        patch.setattr("signal.signal", lambda *_: None)
        try:
            main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0
