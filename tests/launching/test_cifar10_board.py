"""benchmarks/cifar10_board.py, end to end at a toy scale: digits, one epoch, twenty test images."""

from __future__ import annotations

import io
import json
import runpy
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from repository import ROOT
from safetensors.torch import load_file

from robench_fire.devices import meters
from robench_fire.tables.entries import entries_in

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "cifar10_board.py"
TOY = "--dataset digits --arch digits-cnn --epochs 1 --batch-size 256 --examples 20 --jobs 1 --device cpu".split()
ROWS = 8  # seven defenses, and FIRE with hidden labels


def board(verb: str, folder: Path, *more: str) -> str:
    """Run the script in this process, in ``folder``; what it printed."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.chdir(folder)
        patch.setattr("sys.argv", [str(SCRIPT), verb, *TOY, *more])
        patch.setattr("signal.signal", lambda *_: None)
        patch.setitem(meters.SIZES, "cpu", meters.SIZES["cpu"][:1])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return out.getvalue()


@pytest.fixture(scope="module")
def made(brief_attacks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the board was run for one seed."""
    folder = tmp_path_factory.mktemp("board")
    board("run", folder, "--seeds", "1")
    return folder


def test_the_plan_says_what_is_left_and_what_it_costs(made: Path, tmp_path: Path) -> None:
    before, after = (board("plan", folder, "--seeds", "2") for folder in (tmp_path, made))
    lines = [line.split() for line in before.splitlines() if line.startswith((" fire", " madry", " rst", " mart"))]
    assert ["madry", "0,", "1", "1", "23"] in [line[:5] for line in lines]
    assert ["rst_adv", "0,", "1", "2", "27"] in [line[:5] for line in lines]  # twice the epochs of half the labels
    assert ["fire,", "geodesic", "0", "1", "27"] in [line[:5] for line in lines]
    assert before.count("0, 1") == ROWS
    assert after.count("0, 1") == 0
    assert "training: about" in before


def test_one_seed_of_every_row_is_there(made: Path) -> None:
    entries = entries_in([made / "runs" / "board"])
    assert len(entries) == ROWS
    assert {(entry.profile, entry.seeds, entry.examples) for entry in entries} == {("short", "1/5", 20)}
    assert sorted(entry.extra for entry in entries) == [""] * 6 + ["hidden"] * 2
    assert len(entries_in([made / "runs" / "strength"])) == 2


def test_the_same_command_again_changes_nothing(made: Path) -> None:
    kept = ("weights.safetensors", "eval.*.json", "train.json")
    before = {path: path.stat().st_mtime_ns for name in kept for path in made.rglob(name)}
    assert "20 test images" in board("run", made, "--seeds", "1")
    assert before == {path: path.stat().st_mtime_ns for name in kept for path in made.rglob(name)}
    assert len(before) == 4 * (ROWS + 2)


def test_strengths_stand_beside_trades(made: Path) -> None:
    said = board("strength", made)
    rows = {line[:15].strip(): line[15:].split() for line in said.splitlines() if line.startswith((" fire", " trades"))}
    assert set(rows) == {"trades", "fire", "fire, lam 20", "fire, geodesic"}
    clean = {name: float(values[1]) for name, values in rows.items()}
    for name, values in rows.items():
        assert float(values[2]) == pytest.approx(clean[name] - clean["trades"], abs=0.011)
    (geodesic,) = [path for path in made.rglob("strength/**/plan.json") if "geodesic" in path.read_text()]
    curve = json.loads(geodesic.with_name("curve.jsonl").read_text(encoding="utf-8"))
    assert clean["fire, geodesic"] == pytest.approx(curve["clean"], abs=0.006)


def test_what_is_collected_makes_the_same_table_without_weights(made: Path) -> None:
    board("collect", made)
    runs, small = made / "runs", made / "small"
    assert entries_in([small / "board"]) == entries_in([runs / "board"])
    (halved,) = small.rglob("*.safetensors")
    whole = load_file(runs / halved.relative_to(small).with_name("weights.safetensors"))
    assert all((x.half() if x.is_floating_point() else x).equal(load_file(halved)[name]) for name, x in whole.items())
    assert "/fire/" in halved.as_posix()
    assert halved.parent.name == "seed-0"
