"""docs/own-loop.md: each of its blocks runs by itself, and learns."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from repository import ROOT

TEXT = (ROOT / "docs" / "own-loop.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n+(?:```python\n(.*?)^```)", TEXT, re.DOTALL | re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("heading", ["Plain torch", "Lightning", "Accelerate"])
def test_its_blocks_run(
    heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():  # what these libraries say to their own developers
        warnings.simplefilter("ignore")
        exec(compile(BLOCKS[heading], f"docs/own-loop.md, {heading}", "exec"), {"__name__": "__main__"})
    out, _ = capsys.readouterr()
    losses = {name: float(value) for name, value in re.findall(r"'(natural|robust)': (?:tensor\()?([\d.]+)", out)}
    assert set(losses) == {"natural", "robust"}
    assert losses["natural"] < 2.29  # from 2.30, the entropy of ten classes


def test_every_block_is_run() -> None:
    assert list(BLOCKS) == ["Plain torch", "Lightning", "Accelerate"]
    assert TEXT.count("```python") == 3
