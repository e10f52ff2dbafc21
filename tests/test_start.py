"""The page for the first ten minutes: its commands, in their order and as they stand, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from moments import quick
from page_commands import blocks_of
from processes import forked
from repository import ROOT

MINE = "runs: tests/test_start.py"


@pytest.mark.slow
def test_the_first_ten_minutes(tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(ROOT / "docs" / "start.md") if block.mark == MINE]
    said = []
    for words in (words for block in blocks for words in block.commands):
        with forked(tmp_path, *words, begin=quick) as command:  # of fewer targets and queries, as a test
            assert command.wait(300) == 0, command.stderr
            said.append((words[0], command.stdout))
    bench = next(out for name, out in said if name == "bench")
    assert "TRADES" in bench
    assert "FIRE" in bench
    assert "AutoAttack" in bench
    assert next(out for name, out in said if name == "compare").count("FIRE")
    assert "DigitsCNN" in next(out for name, out in said if name == "demo")
    assert (tmp_path / "robench-demo" / "broken.png").is_file()
    assert {path.parent.name for path in tmp_path.glob("runs/digits/Linf/*/*")} == {"trades", "fire"}
