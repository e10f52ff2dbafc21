"""init: the file that a defense begins with (`demo` is run by tests/test_start.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ran
from repository import ROOT

from robench_fire.runs.compose import Request, compose


@pytest.mark.parametrize("file", ["mydefense.py", "methods/my-defense.py"])
def test_the_file_trains_as_it_is(tmp_path: Path, file: str) -> None:
    said = ran(tmp_path, "init", file).stdout.splitlines()
    shown = json.loads(ran(tmp_path, *said[1].split()[1:], "--json").stdout)
    (strength,) = [each["value"] for each in shown["values"] if each["path"] == "defense.strength"]
    assert strength == 6
    trained = f"{said[2].strip()} --epochs 1 --no-eval --batch-size 500".split()[1:]
    ran(tmp_path, *trained)
    assert list(tmp_path.glob("runs/digits/Linf/*/*/seed-0/weights.safetensors"))


def test_it_is_trades_until_it_is_changed(tmp_path: Path) -> None:
    ran(tmp_path, "init", "mine.py")
    mine, trades = (compose(Request(defense=each, dataset="digits")) for each in (str(tmp_path / "mine.py"), "trades"))
    assert mine.plan.recipe == trades.plan.recipe
    assert mine.paper.method == "mine"
    assert "NAME" not in (tmp_path / "mine.py").read_text()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("mine.txt", "a defense is named by a .py file"),
        ("3.py", "a defense is named by a .py file"),
        ("fire-sa.py", "fire_sa is a bundled defense"),
        ("there.py", "is there already"),
    ],
)
def test_it_overwrites_nothing_and_shadows_nothing(tmp_path: Path, file: str, said: str) -> None:
    (tmp_path / "there.py").write_text("mine\n")
    assert said in ran(tmp_path, "init", file, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there.py"]
    assert (tmp_path / "there.py").read_text() == "mine\n"


def test_the_file_is_of_the_house(tmp_path: Path) -> None:
    """Lines that fit, as those of whoever sends it in must."""
    ran(tmp_path, "init", "mine.py")
    assert max(map(len, (tmp_path / "mine.py").read_text().splitlines())) <= 120
    assert (ROOT / "robench_fire" / "cli" / "templates" / "defense.py.txt").is_file()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("train fi", {"fire", "fire_awp", "fire_rst", "fire_sa"}),
        ("train fire cifar1", {"cifar10", "cifar100"}),
        ("show fire cifar10 --arch resnet", {"resnet-18"}),
    ],
)
def test_a_shell_completes_names(line: str, offered: set[str]) -> None:
    asked = {
        "_ROBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": f"robench {line}",
        "COMP_CWORD": f"{len(line.split())}",
    }
    code = "import sys; sys.argv = ['robench']; from robench_fire.cli import main; main()"
    shell = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
    found = set(shell.stdout.split())
    assert offered <= found, shell.stderr
    assert all(each.startswith(line.split()[-1]) for each in found)
