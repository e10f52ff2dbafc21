"""robench plot: every kind from real runs, and what it says of what it cannot draw."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ran
from PIL import Image
from repository import BOARDS, DIGITS_BOARD

BRIEF = "--seeds 2 --epochs 2 --examples 24 --jobs 1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, brief_attacks: None) -> Path:
    """Two methods of two seeds, attacked at three radii, on each other, and their features."""
    folder = tmp_path_factory.mktemp("plotted")
    ran(folder, *f"bench digits --defenses fire,madry {BRIEF}".split())
    for name in ("fire", "madry"):
        ran(folder, *f"eval runs/digits/Linf/{name} --attack pgd20 --eps 0.1,0.4 --examples 24 --jobs 1".split())
        ran(folder, *f"features runs/digits/Linf/{name} -o {name}.json --examples 24".split())
    ran(folder, *"transfer runs/digits/Linf --examples 24".split())
    return folder


ALL = {
    "tradeoff": "runs", "cost": "runs", "curves": "runs", "radius": "runs", "transfer": "runs/digits/Linf",
    "confusion": "runs", "gallery": "runs --only madry", "features": "fire.json madry.json",
    "sweep": str(BOARDS / "fire_strength"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_every_kind(kind: str, runs: Path) -> None:
    found = ran(runs, "plot", kind, *ALL[kind].split(), "-o", f"out/{kind}").stdout.splitlines()
    assert found[:3] == [f"out/{kind}{suffix}" for suffix in (".png", ".svg", ".csv")]
    assert found[3].endswith(".")
    assert len(found) == 4
    with Image.open(runs / "out" / f"{kind}.png") as opened:
        assert min(opened.size) > 400
        assert len(opened.convert("RGB").getcolors(1 << 24) or []) > 20
    with open(runs / "out" / f"{kind}.csv") as file:
        assert list(csv.DictReader(file))
    assert (runs / "out" / f"{kind}.svg").read_text().lstrip().startswith("<?xml")


def test_what_is_predicted_is_what_the_masks_say(runs: Path) -> None:
    """The confusion's diagonals are the accuracies of the rows."""
    ran(runs, *"plot confusion runs --only fire -o counted --force".split())
    with open(runs / "counted.csv") as file:
        cells = list(csv.DictReader(file))
    row = json.loads(ran(runs, *"table runs --only fire --json".split()).stdout)["rows"][0]
    for images, name in (("clean", "clean_acc"), ("AutoAttack", "autoattack_acc")):
        right = sum(
            int(each["count"]) for each in cells if each["images"] == images and each["true"] == each["predicted"]
        )
        assert 100 * right / 48 == pytest.approx(float(row[name]), abs=0.01)


def test_the_same_command_is_the_same_bytes(runs: Path) -> None:
    for name in ("a", "b"):
        ran(runs, *f"plot gallery runs --only fire -o {name}".split())
    for suffix in (".png", ".svg", ".csv"):
        assert (runs / f"a{suffix}").read_bytes() == (runs / f"b{suffix}").read_bytes()


BAD = {
    "curves BOARD": (4, "this figure needs run folders"),
    "radius BOARD": (4, "this figure needs run folders"),
    "transfer BOARD": (4, "make it first: `robench transfer RUNS`"),
    "features runs": (4, "robench features runs -o features.json"),
    "gallery runs": (2, "`gallery` shows one method, and here are 2: choose with --only among"),
    "curves runs --only firr": (2, "did you mean"),
    "tradeoff nowhere": (4, "nowhere does not exist"),
    "tradeoff BOARDS": (2, "a figure is of one setting, and here are"),
    "sweep BOARD": (4, "differ in one number"),
    "sweep BOARD --published": (2, "`plot sweep` has no --published: leave it out"),
    "transfer runs --only fire": (2, "`plot transfer` has no --only or --where: leave it out"),
    "curves runs --eps 0.1": (2, "`plot curves` has no --eps: leave it out"),
    "tradeoff runs --eps 0.1": (4, "no row here has AutoAttack's result"),
    "tradeoff runs --only nothing": (2, "nothing"),
    "portrait runs": (2, "'portrait' is not one of"),
}  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_drawn_is_one_line(words: str, runs: Path) -> None:
    code, said = BAD[words]
    real = words.replace("BOARDS", str(BOARDS)).replace("BOARD", str(DIGITS_BOARD)).split()
    found = ran(runs, "plot", *real, "-o", "bad", code=code).stderr
    assert said in found
    assert "Traceback" not in found
    assert not list(runs.glob("bad.*"))


def test_files_are_kept(runs: Path) -> None:
    (runs / "kept.csv").write_text("mine")
    words = f"plot tradeoff {DIGITS_BOARD} -o kept.svg".split()
    assert "kept.csv exists and is kept" in ran(runs, *words, code=2).stderr
    assert not (runs / "kept.svg").exists()
    ran(runs, *words, "--force")
    assert (runs / "kept.csv").read_text() != "mine"
    assert "a figure is written as .png, .svg, .pdf" in ran(runs, *words[:3], "-o", "kept.gif", code=2).stderr
    assert "Missing option" in ran(runs, *words[:3], code=2).stderr


def test_unfinished_runs(runs: Path, tmp_path: Path) -> None:
    """A seed that was stopped: curves show what there is, what needs its weights says so."""
    shutil.copytree(runs / "runs", tmp_path / "runs")
    for path in (tmp_path / "runs").rglob("train.json"):
        path.unlink()
    found = ran(tmp_path, *"plot curves runs --only fire -o curves.png".split()).stdout
    assert "at the end clean" in found
    for kind, said in {
        "tradeoff": "no evaluated run in runs",
        "gallery": "no seed of FIRE is trained to the end",
        "confusion": "no seed of FIRE is trained",
        "radius": "attack at several radii first",
    }.items():
        words = f"plot {kind} runs{' --only fire' * (kind != 'tradeoff')} -o x".split()
        assert said in ran(tmp_path, *words, code=4).stderr


def test_a_board_of_published_rows_only(tmp_path: Path) -> None:
    board = tmp_path / "model_info" / "cifar10" / "Linf"
    board.mkdir(parents=True)
    (board / "Carmon2019Unlabeled.json").write_text('{"name": "x", "clean_acc": "89.69", "autoattack_acc": "59.53"}')
    assert "no evaluated run in model_info" in ran(tmp_path, *"plot tradeoff model_info -o x".split(), code=4).stderr


def test_perturbed_images_that_were_removed(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "runs", tmp_path / "runs")
    for path in (tmp_path / "runs").rglob("*.adv.safetensors"):
        path.unlink()
    said = ran(tmp_path, *"plot gallery runs --only fire -o x".split(), code=4).stderr
    assert "adv.safetensors is missing" in said


def test_no_display_is_needed(tmp_path: Path) -> None:
    code = "import sys; from robench_fire.cli import app; app(sys.argv[1:], standalone_mode=False); "
    code += "sys.exit('matplotlib.pyplot' in sys.modules)"
    words = [sys.executable, "-c", code, "plot", "tradeoff", str(DIGITS_BOARD), "-o", str(tmp_path / "figure")]
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    assert subprocess.run(words, env=bare | {"MPLBACKEND": "TkAgg"}).returncode == 0
    assert (tmp_path / "figure.png").exists()
