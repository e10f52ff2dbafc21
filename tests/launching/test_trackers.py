"""--log: the curve as CSV, in TensorBoard and in Weights & Biases, beside the one that is read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from command_line import ran
from plans import plan
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from robench_fire.errors import UsageError
from robench_fire.launching import trackers
from robench_fire.launching.trackers import Tracked, named
from robench_fire.problem.settings import to_plain
from robench_fire.runs.folders import Run, find

ROWS = [
    {
        "epoch": number,
        "lr": 0.1,
        "loss": 3.0 / number,
        "loss_robust": 1.0,
        "clean": 50.0,
        "robust": 20.0,
        "seconds": 2.0,
    }
    for number in (1, 2, 3)
]
TRAIN = "train trades digits --seed 0 --epochs 2 --no-eval --device cpu"


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), {"images": 0, "scalars": 0})
    found.Reload()
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    found = Run(tmp_path / "digits" / "Linf" / "trades" / "0123456789ab" / "seed-0")
    found.write("plan.json", to_plain(plan("trades", "digits")))
    return found


def test_a_training_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    ran(tmp_path, *TRAIN.split(), "--log", "csv,tensorboard,wandb")
    (run,) = find(tmp_path / "runs")
    curve = [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()]
    table = pd.read_csv(run.folder / "curve.csv")
    assert list(table["epoch"]) == [1, 2]
    assert table["loss/total"].tolist() == pytest.approx([row["loss"] for row in curve])
    assert table["validation/robust"].tolist() == pytest.approx([row["robust"] for row in curve])
    assert (table["images_per_second"] > 0).all()
    seen = events(run.folder / "tensorboard")
    assert {"loss/total", "loss/natural", "loss/robust", "validation/clean", "learning_rate"} <= set(
        seen.Tags()["scalars"]
    )
    assert [each.value for each in seen.Scalars("loss/total")] == pytest.approx([row["loss"] for row in curve])
    assert set(seen.Tags()["images"]) == {"images/clean", "images/perturbed", "images/perturbation"}
    assert list((run.folder / "wandb").glob("offline-run-*"))


def test_it_changes_nothing_of_what_is_trained(tmp_path: Path) -> None:
    for name, words in {"plain": [], "logged": ["--log", "csv,tensorboard"]}.items():
        ran(tmp_path, *TRAIN.split(), "-o", name, *words)
    plain, logged = (find(tmp_path / name)[0] for name in ("plain", "logged"))
    assert plain.read("train.json")["weights_sha256"] == logged.read("train.json")["weights_sha256"]


def test_a_resumed_run_goes_on_where_it_stopped(run: Run) -> None:
    """Also where a kill came between the state and the curve: no epoch is lost, none is there twice."""
    first = Tracked(run, ["csv", "tensorboard"], images=100)
    for count in (1, 2):
        run.write_curve(ROWS[:count])
        first.epoch_done(ROWS[:count])
    first.close()
    run.write_curve(ROWS[:1])  # the second epoch's row was lost
    again = Tracked(run, ["csv", "tensorboard"], images=100)
    again.epoch_done(ROWS)
    again.close()
    assert pd.read_csv(run.folder / "curve.csv")["epoch"].tolist() == [1, 2, 3]
    found = events(run.folder / "tensorboard").Scalars("loss/total")
    assert [(each.step, round(each.value, 2)) for each in found] == [(1, 3.0), (2, 1.5), (3, 1.0)]


def test_values_are_grouped_as_trackers_show_them() -> None:
    assert named(ROWS[1], 100) == {
        "learning_rate": 0.1, "loss/total": 1.5, "loss/robust": 1.0, "validation/clean": 50.0,
        "validation/robust": 20.0, "seconds": 2.0, "images_per_second": 50.0,
    }  # fmt: skip
    assert "validation/robust" not in named({"lr": 0.1, "loss": 1.0, "clean": 50.0, "seconds": 0.0}, 100)


def test_a_perturbation_is_shown_around_grey() -> None:
    clean = torch.full((1, 1, 2, 2), 0.5)
    shown = trackers._three(clean, clean + torch.tensor([[0.1, -0.1], [0.0, 0.05]]))["images/perturbation"]
    assert shown.flatten().tolist() == pytest.approx([1.0, 0.0, 0.5, 0.75], abs=1e-6)
    assert trackers._three(clean, clean)["images/perturbation"].unique().tolist() == [0.5]


def test_what_cannot_be_logged_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ran(tmp_path, *TRAIN.split(), "--log", "tensorbord", code=2).stderr
    assert "did you mean tensorboard" in said
    assert "leave" not in said
    ray = ran(tmp_path, *TRAIN.split(), "--log", "csv", "--launcher", "ray", code=2).stderr
    assert "--launcher ray brings back runs alone" in ray
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--log wandb needs wandb: pip install 'robench_fire\[wandb\]'"):
        trackers.check(["wandb"])
    assert not (tmp_path / "runs").exists()
