"""A results folder on another user's account: what may be read is read, else a line says so, and all stays."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from command_line import ran
from limits import no_rights
from processes import forked
from test_limits import lasting

pytestmark = pytest.mark.slow

QUICK = "--epochs 1 --set recipe.attack.steps=1 --set recipe.attack.step=0.2 --jobs 1"
TRAIN, PGD = f"train madry digits {QUICK}", "--attack pgd20 --examples 20 --jobs 1"
SEED = r"runs/digits/Linf/madry/\w+/seed-0"
NOBODY = 65534


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seed, evaluated, and a board."""
    folder = tmp_path_factory.mktemp("theirs")
    ran(folder, *f"{TRAIN} --seeds 1 --attack pgd20 --examples 20".split())
    return folder


@pytest.fixture
def theirs(made: Path, tmp_path: Path) -> Path:
    """A folder with somebody else's ``runs``, which all may read; the modes do for who cannot give files away."""
    shutil.copytree(made / "runs", tmp_path / "theirs" / "runs")
    for path in (tmp_path / "theirs" / "runs", *(tmp_path / "theirs" / "runs").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
        if not os.geteuid():
            os.chown(path, NOBODY, NOBODY)
    return tmp_path / "theirs"


def told(folder: Path, line: str, code: int) -> str:
    """What a command says that another user began, and that changes nothing."""
    before = lasting(folder)
    with forked(folder, *line.split(), begin=no_rights) as command:
        assert command.wait(100) == code, command.stderr
        assert "Traceback" not in command.stderr
        said: str = command.stderr.strip()
    assert lasting(folder) == before
    return said


READ = ["table runs", "verify runs", "ls runs", f"eval runs {PGD}"]
REFUSED = {
    f"{TRAIN} --seeds 2 --no-eval": r"--output runs is not writable; choose another folder",
    "eval runs --attack pgd20 --examples 10 --jobs 1": rf"cannot write in {SEED}: .*; choose another folder, .*",
    "rm runs --yes": rf"cannot write {SEED}: .*; its owner may remove it",
}


@pytest.mark.parametrize("line", READ)
def test_what_may_be_read_is_read(theirs: Path, line: str) -> None:
    assert "robench: " not in told(theirs, line, 0)


@pytest.mark.parametrize("line", REFUSED)
def test_what_would_be_written_is_refused(theirs: Path, line: str) -> None:
    assert re.fullmatch(f"robench: {REFUSED[line]}", told(theirs, line, 2))


@pytest.mark.parametrize(
    ("line", "closed"),
    [("table runs", "runs"), ("table runs", "seed-0"), ("verify runs", "seed-0"), ("rm runs --yes", "seed-0")],
)
def test_runs_that_may_not_be_read_are_not_left_out_in_silence(theirs: Path, line: str, closed: str) -> None:
    (place,) = [path for path in theirs.rglob("*") if path.name == closed]
    place.chmod(0o700 if not os.geteuid() else 0)
    said = told(theirs, line, 2)
    named = "runs" if closed == "runs" else SEED
    assert re.fullmatch(f"robench: {named} cannot be read: .*; ask its owner for the right to, or leave it out", said)


def test_a_seed_that_may_not_be_read_stops_its_row_before_anything_is_trained(theirs: Path) -> None:
    """In a folder that is shared, and has another user's private seed."""
    for path in theirs.rglob("*"):
        if path.is_dir():
            path.chmod(0o777)
    (seed,) = theirs.rglob("seed-0")
    seed.chmod(0o700 if not os.geteuid() else 0)
    assert re.fullmatch(f"robench: {SEED} cannot be read: .*", told(theirs, f"{TRAIN} --seed 1 --no-eval", 2))
