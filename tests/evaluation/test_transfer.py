"""Transfer between defenses: which images meet which model, and what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import robench

from robench_fire.boards import model_info
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.transfer import _next, transfer
from robench_fire.runs.folders import Run, find, read_json

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


class Silent:
    """A progress display that shows nothing."""

    def __init__(self, total: int, what: str) -> None:
        pass

    def __enter__(self) -> object:
        return lambda event: None

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of Madry and of TRADES, two epochs each; Square on one of them alone."""
    folder = tmp_path_factory.mktemp("runs")
    common = ("digits", "--epochs", "2", "--seeds", "2", "--no-eval", "--jobs", "1", "--output", str(folder))
    for defense in ("madry", "trades"):
        robench("train", defense, *common)
    robench("eval", str(folder / "digits/Linf/madry"), "--attack", "square", "--examples", "30")
    return folder


def test_the_matrix(runs: Path) -> None:
    folder = runs / "digits" / "Linf"
    found = transfer(folder, 30, 0, Path(), CPU, Silent)  # type: ignore[arg-type]
    assert list(found["transfer"]) == ["Madry", "TRADES"]
    for row in found["transfer"].values():
        assert [len(each["values"]) for each in row.values()] == [2, 2]
    assert found["alone"]["square"]["Madry"]["n"] == 2
    (path,) = next(iter(find(folder / "madry"))).folder.glob("eval.square-*.json")
    other = path.with_name(path.name.replace(".json", "-batch15-shuffled.json"))  # sorts before, and is another one
    facts = read_json(path) | {"batch_size": 15, "order": "shuffled", "robust": 0.0}
    Run(path.parent).write(other.name, {name: each for name, each in facts.items() if name != "seal"})
    assert transfer(folder, 30, 0, Path(), CPU, Silent)["alone"] == found["alone"]  # type: ignore[arg-type]
    other.unlink()
    assert found["alone"]["square"]["TRADES"] is None
    assert read_json(folder / "transfer-Linf-0.2-30.json") == found
    assert transfer(folder, 30, 0, Path(), CPU, Silent) == found  # type: ignore[arg-type]


def test_no_pair_shares_its_seed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    monkeypatch.setattr("robench_fire.evaluation.transfer.perturbed", lambda attacked, seed: seed)
    monkeypatch.setattr(
        "robench_fire.evaluation.transfer._robust", lambda attacked, seed: met.append((seed, attacked)) or 50.0
    )
    monkeypatch.setattr("robench_fire.evaluation.transfer.attacked_model", lambda model, *_, **__: [model])
    monkeypatch.setattr(
        "robench_fire.runs.model_source.ModelSource.load", lambda source, device: source.weights.parent.name
    )
    transfer(runs / "digits" / "Linf", 30, 0, Path(), CPU, Silent)  # type: ignore[arg-type]
    assert sorted(set(met)) == [(0, "seed-1"), (1, "seed-0")]
    assert len(met) == 8


def test_equal_seeds_never_meet(runs: Path, tmp_path: Path) -> None:
    for run in find(runs):
        if run.seed == 0:
            (tmp_path / run.folder.parent.parent.name / "x").mkdir(parents=True)
            (tmp_path / run.folder.parent.parent.name / "x" / "seed-0").symlink_to(run.folder)
    found = transfer(tmp_path, 30, 0, Path(), CPU, Silent)["transfer"]  # type: ignore[arg-type]
    assert [list(row.values()) for row in found.values()] == [[None, None]] * 2


def test_the_next_seed_is_met() -> None:
    runs = [Run(Path(f"seed-{seed}")) for seed in (1, 2, 5)]
    met = {seed: found.seed for seed in range(7) if (found := _next(runs, seed))}
    assert met == {0: 1, 1: 2, 2: 5, 3: 5, 4: 5, 5: 1, 6: 1}


def test_a_table_of_runs_survives_a_matrix_beside_them(runs: Path) -> None:
    transfer(runs / "digits" / "Linf", 30, 0, Path(), CPU, Silent)  # type: ignore[arg-type]
    assert model_info.is_board_file(runs / "Linf" / "FIRE.json")
    assert not any(map(model_info.is_board_file, runs.rglob("*.json")))


def test_runs_that_do_not_compare_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trained run"):
        transfer(tmp_path, 30, 0, Path(), CPU, Silent)  # type: ignore[arg-type]
    robench(
        "train", "madry", "digits", *"--epochs 1 --seeds 1 --eps 0.1 --no-eval --output".split(), str(runs / "more")
    )
    with pytest.raises(UsageError, match=r"digits Linf 0.1; digits Linf 0.2"):
        transfer(runs, 30, 0, Path(), CPU, Silent)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_table(
    runs: Path, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    robench("transfer", str(runs / "digits" / "Linf"), "--examples", "30")
    shown = capsys.readouterr().out
    assert "Square alone is missing" in shown
    assert all(len(line) <= int(columns) for line in shown.splitlines())
