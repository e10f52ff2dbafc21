"""Commands in several processes."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from robench_fire.cli import main
from robench_fire.runs.folders import Run

CPU = torch.device("cpu")


def robench(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["robench", *words])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def rows(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()]
