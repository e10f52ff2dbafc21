"""robench ls runs and robench rm: the runs that are meant, and nothing else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ran
from repository import BOARDS
from run_folders import listed
from written_runs import write_run

from robench_fire.runs.compose import Request
from robench_fire.runs.folders import Run, find


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """FIRE with two strengths and MART, a seed or two each."""
    strong = Request(defense="fire", dataset="digits", settings=(("--set", "defense.lam", "20"),))
    root = tmp_path / "runs"
    for seed in (0, 1):
        write_run(root, Request(defense="fire", dataset="digits"), seed, 90.0, 50.0)
        write_run(root, strong, seed, 90.0, 50.0)
    write_run(root, Request(defense="mart", dataset="digits"), 0, 90.0, 50.0)
    return root


def left(root: Path) -> list[str]:
    return [f"{run.folder.parent.parent.name} {run.read('plan.json')['defense'].get('lam')}" for run in find(root)]


def test_ls_lists_those_that_are_asked_for(runs: Path) -> None:
    text = ran(runs.parent, "ls", "runs", "--only", "fire", "--where", "defense.lam=20").stdout
    assert text.count("seed-") == 2
    assert "mart" not in text
    assert "did you mean mart" in ran(runs.parent, "ls", "runs", "--only", "marts", code=2).stderr
    assert "choose among runs" in ran(runs.parent, "ls", "defenses", "--only", "mart", code=2).stderr


def test_rm_removes_those_that_are_asked_for_and_folders_that_are_empty_then(runs: Path) -> None:
    said = ran(runs.parent, "rm", "runs", "--where", "defense.lam=20", "--yes").stdout
    assert said.splitlines()[-1].startswith("removed 2 runs, ")
    assert sorted(left(runs)) == ["fire 12.0", "fire 12.0", "mart None"]
    assert len(listed(runs / "digits" / "Linf" / "fire")) == 1  # the plan's folder is gone with its last run
    ran(runs.parent, "rm", "runs", "--only", "mart", "--yes")
    assert listed(runs / "digits" / "Linf") == {"fire"}
    ran(runs.parent, "rm", str(find(runs)[0].folder), "--yes")
    assert left(runs) == ["fire 12.0"]
    ran(runs.parent, "rm", "runs", "--yes")
    assert listed(runs) == set()


def test_rm_asks(runs: Path) -> None:
    """On a terminal; elsewhere it wants to be told."""
    assert "say --yes where nobody can be asked" in ran(runs.parent, "rm", "runs", code=2).stderr
    for answer, count in ((b"n\n", 5), (b"y\n", 0)):
        parent, child = pty.openpty()
        command = [sys.executable, "-m", "robench_fire", "rm", "runs"]
        started = subprocess.Popen(command, stdin=child, stdout=subprocess.PIPE, cwd=runs.parent, env={**os.environ})
        os.write(parent, answer)
        started.communicate(timeout=60)
        assert len(find(runs)) == count
        os.close(parent)
        os.close(child)


def test_a_board_is_never_touched(runs: Path, tmp_path: Path) -> None:
    before = listed(BOARDS / "digits" / "Linf")
    assert "boards are not removed here" in ran(tmp_path, "rm", str(BOARDS / "digits"), "--yes", code=4).stderr
    assert "holds no run" in ran(tmp_path, "rm", "nowhere", "--yes", code=4).stderr
    board = tmp_path / "board"
    ran(runs.parent, "table", "runs", "--publish", str(board))
    published = sorted(board.rglob("*.json"))
    ran(tmp_path, "rm", str(tmp_path), "--yes")
    assert find(tmp_path) == []
    assert sorted(board.rglob("*.json")) == published
    assert listed(BOARDS / "digits" / "Linf") == before


def test_a_run_that_is_at_work_stays(runs: Path) -> None:
    run = Run(find(runs)[0].folder)
    with run.locked():
        assert "is in use by another process" in ran(runs.parent, "rm", str(run.folder), "--yes", code=2).stderr
    assert len(find(runs)) == 5


def test_a_link_is_left_to_its_owner(runs: Path, tmp_path: Path) -> None:
    run = find(runs)[0]
    run.folder.rename(tmp_path / "elsewhere")
    run.folder.symlink_to(tmp_path / "elsewhere")
    said = ran(runs.parent, "rm", str(run.folder), "--yes", code=2).stderr
    assert f"is a link; remove {tmp_path / 'elsewhere'} and the link yourself" in said
    assert len(find(runs)) == 5


def test_what_an_interruption_left_is_cleared(runs: Path) -> None:
    run = find(runs)[0]
    (run.folder.parent / ".seed-7.removed").mkdir()
    ran(runs.parent, "rm", str(run.folder), "--yes")
    assert not list(runs.rglob(".seed-*"))


def test_nothing_that_fits_is_said(runs: Path) -> None:
    assert (
        "ask for less"
        in ran(runs.parent, "rm", "runs", "--only", "mart", "--where", "defense.lam=20", "--yes", code=2).stderr
    )
