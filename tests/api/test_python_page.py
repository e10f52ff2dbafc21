"""docs/python.md: its blocks are one session, run from the first to the last; it and the reference name every call."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

import robench_fire as rb

PAGE = ROOT / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CALLS = [name for name, home in rb._FACE.items() if home.startswith("api.") and name.islower()]


def session() -> ast.Module:
    """All blocks, each statement at its line of the page."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = [(text.count("\n", 0, found.start(1)), found[1]) for found in BLOCK.finditer(text)]
    assert len(blocks) > 5
    parsed = [ast.increment_lineno(ast.parse(code), line) for line, code in blocks]
    return ast.Module([statement for each in parsed for statement in each.body], [])


@pytest.mark.slow
@pytest.mark.usefixtures("brief_attacks")
def test_the_page_is_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forked_workers: None
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(session(), str(PAGE), "exec"), names)
    out, err = capsys.readouterr()
    comparison, refusal = out.splitlines()
    assert "FIRE" in comparison
    assert "TRADES" in comparison
    assert refusal == "x is uint8, a threat model needs floats in [0, 1]: say x.float() / 255"
    assert re.search(r"fire seed [01]: done \(2 of 2\)", err)
    assert len(names["fire"]) == 2
    assert names["result"].facts["examples"] == 100
    assert rb.Evaluation.read(tmp_path / "mine.json").to_json() == names["result"].to_json()
    assert names["again"].to_json() == names["first"].to_json()
    assert names["quick"].after["pgd20"] <= names["quick"].after["fgsm"] <= names["quick"].clean_accuracy


def test_the_page_shows_every_call() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(CALLS) > 6
    assert [name for name in [*CALLS, *rb._MODULES] if not re.search(rf"\brb\.{name}\b", text)] == []


def test_the_reference_has_every_name() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in [*rb._FACE, *rb._MODULES] if f"::: robench_fire.{name}\n" not in text] == []


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("list_")])
def test_every_argument_is_described(name: str) -> None:
    """Where there is such a part, ruff's D417 asks for each of them."""
    text = getattr(rb, name).__doc__
    assert "\n    Args:\n" in text
    assert "\n    Raises:\n        RobenchError: " in text
