"""Sweeps end to end on real digits: trained, tabulated, resumed, and selected on validation images alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import ran

from robench_fire.boards.rows import collect
from robench_fire.runs.folders import Run, find

pytestmark = pytest.mark.slow

TINY = ("--seeds", "2", "--epochs", "1", "--examples", "12")
GRID = ("sweep", "trades,fire", "digits", "--over", "defense.lam=8,1", *TINY)
PGD = ("--attack", "pgd20", "--jobs", "1")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder after a small sweep, and what it printed and said."""
    folder = tmp_path_factory.mktemp("sweep")
    said = ran(folder, *GRID, *PGD)
    return folder, said.stdout, said.stderr


def lines(out: str) -> list[dict[str, str]]:
    """Rank, method and swept value of each line of a printed table."""
    body = out.partition("───\n")[2].splitlines()
    return [dict(zip(("#", "Method", "value"), line.split(), strict=False)) for line in body if line[:1] in "–123456"]


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".safetensors", ".npy")}


def points(folder: Path, *words: str) -> list[dict[str, Any]]:
    """What the sweep says of each point, as JSON."""
    found: list[dict[str, Any]] = json.loads(ran(folder, *GRID, *words, "--json").stdout)["points"]
    return found


def test_the_swept_values_are_a_column_and_lines_stand_in_the_order_asked_for(swept: tuple[Path, str, str]) -> None:
    _, out, _ = swept
    assert "digits, Linf, eps 0.2, 12 test images" in out
    (head,) = (line for line in out.splitlines() if "Method" in line)
    assert head.split()[:4] == ["#", "Method", "beta/lam", "Architecture"]
    assert [(line["Method"], line["value"]) for line in lines(out)] == [
        ("TRADES", "8"), ("TRADES", "1"), ("FIRE", "8"), ("FIRE", "1"),
    ]  # fmt: skip
    assert "TRADES has no defense.lam: defense.beta, the one number of its loss, is swept in its place." in out
    assert "Not the matched recipe: recipe.epochs 1." in out
    assert "nothing was selected" in out


def test_every_run_is_called_by_its_setting(swept: tuple[Path, str, str]) -> None:
    said = swept[2]
    assert "sweep: 4 settings x 2 seeds = 8 runs" in said
    for name in ("trades beta=8", "trades beta=1", "fire lam=8", "fire lam=1"):
        for seed in (0, 1):
            assert f"{name} seed {seed}: done" in said


def test_json_holds_what_the_rows_hold(swept: tuple[Path, str, str]) -> None:
    folder, _, _ = swept
    rows = {row.fingerprint: row for row in collect(folder)}
    found = points(folder, *PGD)
    assert [each["settings"] for each in found] == [
        {"defense.beta": 8.0}, {"defense.beta": 1.0}, {"defense.lam": 8.0}, {"defense.lam": 1.0},
    ]  # fmt: skip
    assert len(rows) == 4
    for each in found:
        row = rows[each["plan"]]
        assert each["test"]["robust"]["mean"] == pytest.approx(row.over_seeds("robust").mean, abs=1e-3)
        assert each["test"]["clean"]["per_seed"] == {
            str(seed): pytest.approx(values["clean"], abs=1e-3) for seed, values in row.per_seed.items()
        }
        assert set(each["validation"]) == {"clean", "robust"}
        assert not each["selected"]


def test_the_same_command_again_does_nothing(swept: tuple[Path, str, str]) -> None:
    folder, out, _ = swept
    before = files(folder)
    assert len(before) == 4 * 2 * 2  # settings, seeds, weights and masks
    assert ran(folder, *GRID, *PGD).stdout == out
    assert files(folder) == before


def test_a_point_is_the_run_that_train_makes(swept: tuple[Path, str, str]) -> None:
    folder, _, _ = swept
    before = files(folder)
    ran(folder, "train", "fire", "digits", "--set", "defense.lam=8", *TINY, *PGD)
    assert files(folder) == before


def run_of(folder: Path, setting: str, value: float, seed: int) -> Run:
    return next(run for run in find(folder)
                if run.seed == seed and run.read("plan.json")["defense"].get(setting) == value)  # fmt: skip


def validate_as(folder: Path, setting: str, value: float, robust: float) -> None:
    """Let the curve of a point's seeds say another validation accuracy."""
    for seed in (0, 1):
        run = run_of(folder, setting, value, seed)
        rows = [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()]
        run.write_curve([row | {"robust": robust} for row in rows])


def test_validation_selects_and_only_what_it_selects_is_evaluated(tmp_path: Path, brief_attacks: None) -> None:
    ran(tmp_path, *GRID, "--no-eval", "--jobs", "1")
    trained = files(tmp_path)
    for value, robust in ((8.0, 10.0), (1.0, 30.0)):
        validate_as(tmp_path, "lam", value, robust)
        validate_as(tmp_path, "beta", value, 40.0 - robust)
    words = ("--select", "robust", "--jobs", "1")
    out = ran(tmp_path, *GRID, *words).stdout
    found = {(each["method"], *each["settings"].values()): each for each in points(tmp_path, *words)}
    assert {point: each["selected"] for point, each in found.items()} == {
        ("TRADES", 8.0): True, ("TRADES", 1.0): False, ("FIRE", 8.0): False, ("FIRE", 1.0): True,
    }  # fmt: skip
    for (_, value), each in found.items():
        setting = next(iter(each["settings"])).removeprefix("defense.")
        for seed in (0, 1):
            evaluated = run_of(tmp_path, setting, value, seed).evaluations()
            assert len(evaluated) == (2 if each["selected"] else 0)
        assert (each["test"] is not None) is each["selected"]
    assert {path: mtime for path, mtime in files(tmp_path).items() if path in trained} == trained
    assert "Val. robust" in out
    assert "30.00 ± 0.00" in out
    assert "Nothing was selected on the test images" in out
    for value, robust in ((8.0, 30.0), (1.0, 10.0)):  # the test images have been seen by now; they decide nothing
        validate_as(tmp_path, "lam", value, robust)
    again = {(each["method"], *each["settings"].values()): each for each in points(tmp_path, *words)}
    assert [point for point, each in again.items() if each["selected"]] == [("TRADES", 8.0), ("FIRE", 8.0)]
    assert again["FIRE", 1.0]["test"] is None


@pytest.mark.parametrize("select", [(), ("--select", "robust")])
def test_a_setting_that_diverges_is_kept_marked_and_stops_no_other(tmp_path: Path, select: tuple[str, ...]) -> None:
    words = ("sweep", "fire", "digits", "--over", "recipe.optimiser.lr=1e30,0.05", "--seeds", "2", "--epochs", "1",
             "--examples", "12", *PGD)  # fmt: skip
    out = ran(tmp_path, *words, *select, code=5)
    assert "2 of 4 runs failed; fire lr=1e30 seed 0: the loss is not finite at step" in out.stderr
    first, second = lines(out.stdout)
    assert (first["Method"], first["#"], second["Method"], second["#"]) == ("FIRE", "–", "FIRE", "1")
    assert "[1] Seed 0" in out.stdout
    assert "the loss is not finite" in out.stdout
    (row,) = collect(tmp_path)
    assert row.plan["recipe"]["optimiser"]["lr"] == 0.05


def test_nothing_is_selected_before_all_is_trained(tmp_path: Path) -> None:
    ran(tmp_path, *GRID, "--no-eval", "--jobs", "1")
    run = run_of(tmp_path, "lam", 8.0, 0)
    (run.folder / "train.json").unlink()
    with run.locked():
        said = ran(tmp_path, *GRID, *PGD, "--select", "robust", code=2)
    assert "nothing is selected before every setting is trained" in said.stderr
    assert not any(run.evaluations() for run in find(tmp_path))


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("how", ["--jobs=2", "--together"])
def test_any_way_of_running_makes_the_same_plans(swept: tuple[Path, str, str], tmp_path: Path, how: str) -> None:
    ran(tmp_path, *GRID, "--no-eval", how)
    plans = {run.folder.relative_to(tmp_path) for run in find(tmp_path) if run.trained}
    assert plans == {run.folder.relative_to(swept[0]) for run in find(swept[0])}


def test_without_evaluation_it_says_where_the_weights_lie(tmp_path: Path) -> None:
    said = ran(tmp_path, "sweep", "fire", "digits", "--over", "defense.lam=1", *TINY, "--no-eval", "--jobs", "1")
    assert (said.stdout, "trained, not evaluated; the weights lie under runs" in said.stderr) == ("", True)
    chosen = ran(
        tmp_path, "sweep", "fire", "digits", "--over", "defense.lam=1", *TINY, "--no-eval", "--select", "clean"
    )
    assert "Val. clean" in chosen.stdout
