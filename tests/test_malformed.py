"""Malformed inputs: a message and an exit code, never a traceback, and nothing of what is there is changed."""

from __future__ import annotations

import io
import shlex
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from command_line import robench
from malformed import Case, copied, state, words
from repository import ROOT
from shared_folder import shared_folder
from verified_runs import finished
from weights_to_evaluate import initial

CASES: list[Case] = [*words.CASES]
LINES = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, brief_attacks: None) -> Path:
    """What every command finds; not to be changed."""

    def make(folder: Path) -> Path:
        finished(folder / "place" / "runs")
        shutil.copytree(ROOT / "leaderboards" / "all" / "digits", folder / "place" / "board" / "digits")
        return folder / "place"

    return shared_folder(tmp_path_factory, "malformed", make)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed(case: Case, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = copied(made, tmp_path / "place")
    case.make(place)
    monkeypatch.chdir(place)
    before, said = state(place), io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = robench(*shlex.split(case.words))
    text = said.getvalue()
    assert "Traceback" not in text
    assert code == case.code, text
    at = 0
    for part in case.said.split(" ... "):
        at = text.find(part, at)
        assert at >= 0, f"{part!r} is not in {text}"
    assert state(place) == before
