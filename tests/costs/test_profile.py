"""`robench profile`: a few real steps of the engine, timed, traced, and made to fit into a minute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import robench
from needs import defense_file

from robench_fire.costs import profile
from robench_fire.costs.flops import network_flops, update_flops
from robench_fire.costs.work import work
from robench_fire.problem.recipe import Extra, Recipe
from robench_fire.runs.compose import Request, compose


@pytest.fixture(autouse=True)
def _three_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(profile, "STEPS", 3)
    monkeypatch.chdir(tmp_path)


def profiled(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, Any]:
    assert robench(*f"profile {line} --json".split()) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_parts_of_a_step_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    found = profiled(capsys, "fire digits --batch-size 32")
    assert list(found["sections"]) == ["data", "attack", "update", "optimiser", "gaps"]
    assert sum(found["sections"].values()) == pytest.approx(found["step_seconds"])
    assert found["images_per_second"] == pytest.approx(32 / found["step_seconds"])
    assert (found["steps"], found["batch_size"], found["recipe_batch_size"]) == (3, 32, 32)
    composed = compose(Request(defense="fire", dataset="digits"))
    each = update_flops(network_flops(composed.build, (1, 8, 8)), work(composed.plan.defense, composed.plan.recipe))
    assert (found["forward_equivalents"], found["flops_per_image"], found["flops_per_update"]) == (27, each, 32 * each)
    assert found["mfu"] == pytest.approx(each * found["images_per_second"] / found["matmul_flops_per_second"])
    images = found["epochs"] * 44 * 32  # 1,397 images are 44 batches
    assert found["training_seconds"]["1"] == pytest.approx(images / found["images_per_second"])
    assert found["training_seconds"]["5"] == 5 * found["training_seconds"]["1"]
    assert found["real_images"]


def test_hidden_labels_cost_their_labeller(capsys: pytest.CaptureFixture[str]) -> None:
    found = profiled(capsys, "rst_adv digits")
    images = found["epochs"] * 6 * 128
    assert found["training_seconds"]["1"] > images / found["images_per_second"]


@pytest.mark.parametrize(
    ("name", "equivalents"),
    [("second attack", 4 * 10 + 1 + 9), ("features", 27), ("slopes", 26), ("batch term", 27),
     ("perturbed weights, late", 2 * 10 + 1 + 2 * 6), ("teacher", 2 * 10 + 6 + 1)],
)  # fmt: skip
def test_what_a_loss_is_given_is_profiled(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, checkpoint: Path, name: str, equivalents: int
) -> None:
    teacher = f" --teacher {checkpoint}" if name == "teacher" else ""
    found = profiled(capsys, f"{defense_file(tmp_path, name)} digits{teacher}")
    assert found["forward_equivalents"] == equivalents
    assert found["flops_per_image"] == pytest.approx(equivalents * 80128, rel=0.03)
    assert found["mfu"] > 0


def test_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert robench(*"profile trades digits --set recipe.epochs=7".split()) == 0
    out = capsys.readouterr().out
    for word in ("attack", "optimiser", "gaps", "forward-equivalents", "MFU", "7 epochs", "3 steps of 128 images"):
        assert word in out
    assert "random images" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_without_the_data_random_images_will_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = "profile madry mnist --batch-size 4 --set recipe.attack.steps=3 --set recipe.attack.step=0.1"
    assert robench(*f"{line} --data-dir {tmp_path}".split()) == 0
    assert "On random images: mnist is not on this machine (`robench data mnist`)." in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_trace_of_two_steps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert robench(*f"profile fire digits --trace {tmp_path / 'trace.json'}".split()) == 0
    assert "Trace of two steps: " in capsys.readouterr().out
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = [each.get("name", "") for each in events]
    assert sum(name.startswith("ProfilerStep") for name in names) == 2
    counts = [names.count(name) for name in ("aten::convolution", "aten::convolution_backward")]
    assert counts == [2 * 2 * (1 + 10 + 2), 2 * 2 * (10 + 2)]  # two steps of a network of two convolutions


@pytest.mark.parametrize("place", ["nowhere/trace.json", "."])
def test_a_trace_that_cannot_be_written(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert robench(*f"profile fire digits --trace {place}".split()) == 2
    assert f"--trace {place}: no file can be written there" in capsys.readouterr().err


def test_a_step_that_would_take_long_has_a_smaller_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile, "matmul_rate", lambda device, chosen: 10 * 2145024 / 0.4 / 8)  # ten images
    assert robench(*"profile fire digits".split()) == 0
    out = capsys.readouterr().out
    assert "steps of 10 images" in out
    assert "The recipe's batches of 128 would take too long here." in out


@pytest.mark.parametrize(
    ("fits", "extra", "expected"),
    [(1000.0, None, 64), (10.0, None, 10), (0.01, None, 2), (2.0, Extra(share=0.1), 10), (63.5, None, 63)],
)
def test_the_batch_is_one_that_the_recipe_takes(fits: float, extra: Extra | None, expected: int) -> None:
    recipe = Recipe(arch="digits-cnn", attack=None, batch_size=64, extra=extra)
    rate = fits * 100 / profile.STEP_SECONDS / profile.USUAL_MFU
    assert profile._batch(recipe, 100, rate) == expected


def test_images_are_repeated_where_there_are_too_few() -> None:
    composed = compose(Request(defense="fire", dataset="digits"))
    images = profile._images(composed, Path())
    problem = profile._problem(composed, images, 1000, 2)
    assert len(problem.train.labels) == 2000
    assert torch.equal(problem.train.images[1397], images.split.images[0])


def test_it_computes_as_a_training_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a CPU by one thread, and deterministically."""
    seen: list[tuple[int, bool]] = []
    inner = profile.train

    def watched(*given: Any, **named: Any) -> Any:
        seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
        return inner(*given, **named)

    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr(profile, "train", watched)
    profiled(capsys, "fire digits --batch-size 32 --device cpu")
    assert set(seen) == {(1, True)}


def test_an_update_is_one_of_several_on_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    found = profiled(capsys, "free digits --batch-size 32")
    assert found["flops_per_update"] == found["flops_per_image"] * 32 // 8
