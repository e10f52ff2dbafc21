"""Several seeds at once: each has the result, and the files, that it has alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import ran
from devices import here
from needs import defense_file
from torch import Tensor, nn

from robench_fire.devices import precision
from robench_fire.errors import DivergedError, RecipeError
from robench_fire.models.small_cnns import DigitsCNN, SmallCNN
from robench_fire.models.stacked import Stacked, refuses
from robench_fire.problem import registry
from robench_fire.problem.dataset import Splits
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Adam, Augment, Cosine, Cyclic, Extra, OneCycle, Recipe, Sgd
from robench_fire.problem.threat import L2, Linf
from robench_fire.quantity import Quantity
from robench_fire.runs.folders import find
from robench_fire.training.engine import Trained, initialised, prepared, train, train_together
from robench_fire.training.saving import read
from robench_fire.training.setup import Problem

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
RECIPE = Recipe(
    arch="digits-cnn",
    attack=Pgd(steps=2, step=Quantity("0.1")),
    epochs=1,
    batch_size=64,
    optimiser=Sgd(lr=0.05),
    augment=Augment(pad=1, flip=True),
    precision="fp32",  # what a GPU would not take by itself
)
SEEDS = (0, 3, 4)


def problem(small: Splits, name: str = "fire", **changes: Any) -> Problem:
    defense = registry.load("defenses", name).module.DEFENSE
    recipe = replace(RECIPE, **changes)
    return Problem(defense, Linf(eps=Quantity("0.2")), recipe, small.train, small.validation, 10)


def alone(given: Problem, seed: int, **more: Any) -> Trained:
    return train(DigitsCNN, given, seed=seed, device=here(), **more)


def together(given: Problem, seeds: tuple[int, ...] = SEEDS, **more: Any) -> list[Trained]:
    more.setdefault("state_files", [None] * len(seeds))
    return train_together(DigitsCNN, given, seeds=seeds, device=here(), **more)


def test_stacked_models_compute_what_each_computes() -> None:
    models = [initialised(DigitsCNN, seed) for seed in SEEDS]
    stacked = Stacked([initialised(DigitsCNN, seed) for seed in SEEDS])
    x = torch.rand(3 * 4, 1, 8, 8)
    for mode in (True, False):
        stacked.train(mode)
        logits = stacked(x).chunk(3)
        for model, images, found in zip(models, x.chunk(3), logits, strict=True):
            assert torch.allclose(model.train(mode)(images), found, atol=1e-6)
    for number, model in enumerate(models):
        state = stacked.state_of(number)
        assert list(state) == list(model.state_dict())
        assert all(torch.allclose(state[name], value, atol=1e-6) for name, value in model.state_dict().items())


CASES: list[tuple[str, dict[str, Any]]] = [
    ("madry", {}),
    ("trades", {"passes": ("clean", "adv", "clean")}),
    ("mart", {"ema_decay": 0.9}),
    ("fire", {"schedule": Cosine(), "attack_mode": "train"}),
    ("fire", {"optimiser": Sgd(lr=0.05, decay_only_weights=True, weight_decay=0.1)}),
    ("fire", {"optimiser": Adam(lr=1e-3)}),
    ("fire_sa", {"select": "validation"}),
    ("trades", {"schedule": Cyclic()}),
    (
        "fire_sa",
        {"schedule": OneCycle(), "ema_decay": 0.5, "ema_warm_up": True, "label_smoothing": 0.1, "select": "copies"},
    ),
]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(("name", "changes"), CASES, ids=str)
def test_each_seed_as_if_alone(small: Splits, name: str, changes: dict[str, Any]) -> None:
    """Of a few steps, since the sign of a nearly vanishing gradient turns rounding into a step of the attack."""
    given = problem(small, name, **changes)
    if name == "fire_sa":  # the memory moves from the first epoch on
        given = replace(given, defense=replace(given.defense, targets=replace(given.defense.targets, start=0.0)))
    for seed, found in zip(SEEDS, together(given), strict=True):
        expected = alone(given, seed)
        assert found.curve[0]["loss"] == pytest.approx(expected.curve[0]["loss"], rel=2e-3)
        assert found.curve[0]["clean"] == pytest.approx(expected.curve[0]["clean"], abs=3)
        for name, value in expected.weights.items():
            assert torch.allclose(found.weights[name].float(), value.float(), atol=0.02), name
        assert found.arithmetic["together"] == "3"


def test_without_an_attack_the_results_are_equal_to_rounding(small: Splits) -> None:
    from robench_fire.training.pseudo_labels import Standard

    given = replace(problem(small, attack=None, passes=("clean",), epochs=3), defense=Standard())
    for seed, found in zip(SEEDS, together(given), strict=True):
        expected = alone(given, seed)
        assert [row["loss"] for row in found.curve] == pytest.approx([row["loss"] for row in expected.curve], rel=1e-5)
        for name, value in expected.weights.items():
            assert torch.allclose(found.weights[name].float(), value.float(), atol=1e-5), name


@pytest.mark.usefixtures("device")
def test_l2_and_seeds_differ(small: Splits) -> None:
    given = replace(problem(small, "trades"), threat=L2(eps=Quantity("0.3")))
    first, second, _ = together(given)
    assert first.curve[0]["loss"] != second.curve[0]["loss"]
    assert first.curve[0]["loss"] == pytest.approx(alone(given, 0).curve[0]["loss"], rel=1e-4)


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.mark.usefixtures("device")
def test_a_group_continues_from_its_files_and_so_does_each_alone(small: Splits, tmp_path: Path) -> None:
    given = problem(small, "fire_sa", epochs=3, ema_decay=0.9, select="validation")
    given = replace(given, defense=replace(given.defense, targets=replace(given.defense.targets, start=0.3)))
    files = [tmp_path / f"{seed}.pt" for seed in SEEDS]

    def cut(number: int, curve: list[dict[str, float]]) -> None:
        if len(curve) == 2 and number == len(SEEDS) - 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        together(given, state_files=files, epoch_done=cut)
    kept = [path.read_bytes() for path in files]
    whole, resumed = together(given), together(given, state_files=files)
    for one, other in zip(whole, resumed, strict=True):
        assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    files[1].write_bytes(kept[1])
    seconds = []
    single = alone(given, SEEDS[1], state_file=files[1], epoch_done=lambda curve: seconds.append(len(curve)))
    assert seconds == [3]  # two epochs were made together
    assert [row["loss"] for row in single.curve[:2]] == [row["loss"] for row in whole[1].curve[:2]]
    assert single.curve[2]["loss"] == pytest.approx(whole[1].curve[2]["loss"], rel=1e-2)


def test_momentum_of_a_group_is_laid_out_as_the_weights_it_moves(
    small: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, convolutions lie channels last; a fused optimiser would take the group's layout for that."""
    monkeypatch.setattr(precision, "WIDE", 1)
    given = problem(small, "madry", epochs=2)
    files = [tmp_path / f"{seed}.pt" for seed in SEEDS]

    def cut(number: int, curve: list[dict[str, float]]) -> None:
        if number == len(SEEDS) - 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        together(given, state_files=files, epoch_done=cut)
    plain = read(files[0], CPU)
    state, _ = prepared(DigitsCNN, given, [SEEDS[0]], CPU)
    state.restore([plain])
    saved = [each["momentum_buffer"] for each in plain["optimiser"]["state"].values()]
    for parameter, expected in zip(state.model.parameters(), saved, strict=True):
        found = state.optimiser.state[parameter]["momentum_buffer"]
        assert found.stride() == parameter.stride()
        assert torch.equal(found, expected)
    assert next(state.model.parameters()).is_contiguous(memory_format=torch.channels_last)
    sizes = [path.stat().st_size for path in files]
    alone(given, SEEDS[0], state_file=(single := tmp_path / "alone.pt"))
    assert max(sizes) < 1.2 * single.stat().st_size  # each file holds its own seed and no other


def test_one_scale_for_several_seeds_is_refused(small: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "supported", lambda device: ("fp32", "fp16"))
    with pytest.raises(RecipeError, match="fp16 has one scale for all seeds"):
        together(problem(small, precision="fp16"))


def test_a_seed_that_diverges_is_named(small: Splits) -> None:
    made: list[nn.Module] = []

    def build() -> nn.Module:
        made.append(DigitsCNN())
        if len(made) == 2:
            nn.init.constant_(made[-1].classifier[2].bias, float("nan"))  # type: ignore[union-attr,arg-type]
        return made[-1]

    with pytest.raises(DivergedError, match=r"loss of seed 3 is not finite at step 1 "):
        train_together(build, problem(small), seeds=SEEDS, device=CPU, state_files=[None] * 3)


def test_dropout_is_refused(small: Splits) -> None:
    assert refuses(SmallCNN()) == "classifier.drop drops units at random, one stream for all seeds"
    assert refuses(DigitsCNN()) == ""

    def build() -> nn.Module:
        return nn.Sequential(DigitsCNN(), nn.Dropout(0.1))

    with pytest.raises(RecipeError, match=r"several seeds cannot be trained at once: 1 drops units"):
        train_together(build, problem(small), seeds=SEEDS, device=CPU, state_files=[None] * 3)


def test_time_is_shared_out(small: Splits) -> None:
    found = together(problem(small, epochs=2))
    assert len({each.seconds["train"] for each in found}) == 1
    whole = sum(row["seconds"] for row in found[0].curve)
    assert whole <= found[0].seconds["train"]


class WithoutGradient(nn.Module):
    """A model one of whose parameters never takes part, and a buffer that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.idle = DigitsCNN(), nn.Parameter(torch.ones(2))
        self.register_buffer("shift", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x + self.shift)
        return logits


def test_idle_parameters_and_hidden_buffers(small: Splits) -> None:
    given = problem(small, "madry")
    expected = train(WithoutGradient, given, seed=0, device=CPU)
    found = train_together(WithoutGradient, given, seeds=(0, 1), device=CPU, state_files=[None] * 2)[0]
    assert list(found.weights) == list(expected.weights)
    assert found.curve[0]["loss"] == pytest.approx(expected.curve[0]["loss"], rel=1e-3)


def test_extra_images_are_shared(small: Splits) -> None:
    given = problem(small, "trades", extra=Extra())
    given = replace(given, extra=small.validation)
    assert together(given)[0].curve[0]["loss"] == pytest.approx(alone(given, 0).curve[0]["loss"], rel=2e-3)


@pytest.mark.usefixtures("forked_workers")
def test_the_command_trains_groups_and_goes_on_from_any_state(tmp_path: Path) -> None:
    """Seed 1 is trained alone before; the others go together, in two processes, into the usual folders."""
    common = "train fire digits --epochs 2 --set recipe.attack.steps=4 --no-eval --device cpu".split()
    ran(tmp_path, *common, "--seeds", "1,1", "--jobs", "1")
    said = ran(tmp_path, *common, "--seeds", "4", "--together", "--jobs", "2").stderr
    assert "fire seeds 0,2: done" in said
    assert "fire seeds 1,3: done" in said
    runs = find(tmp_path / "runs")
    together = [run.read("train.json")["arithmetic"]["together"] for run in runs]
    assert together == ["2", "1", "2", "1"]
    assert all(run.trained and not (run.folder / "state.pt").exists() for run in runs)
    alone = tmp_path / "alone"
    ran(tmp_path, *common, "--seeds", "0,0", "--jobs", "1", "--output", str(alone))
    (single,) = find(alone)
    curves = [(run.folder / "curve.jsonl").read_text().splitlines() for run in (single, runs[0])]
    losses = [[json.loads(line)["loss"] for line in curve] for curve in curves]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_what_cannot_go_together_says_so(tmp_path: Path) -> None:
    common = "train rst_adv digits --epochs 2 --no-eval --device cpu --together --jobs 1 --seeds 2".split()
    assert "rst_adv labels images anew for every seed; leave out --together" in ran(tmp_path, *common, code=3).stderr
    common[1] = defense_file(tmp_path, "features")
    said = "its loss reads features, which stacked models do not give; leave out --together"
    assert said in ran(tmp_path, *common, code=3).stderr
