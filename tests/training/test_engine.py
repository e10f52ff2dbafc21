"""The training loop: determinism, resuming, ownership of modes, counts of forwards, and stopping on NaN."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from robench_fire.defenses.madry import Madry
from torch import Tensor, nn
from trainings import RECIPE, defense, problem, trained

from robench_fire.costs.work import work
from robench_fire.errors import DataError, DivergedError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem import registry
from robench_fire.problem.dataset import Split, Splits
from robench_fire.problem.defense import Views
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Adam, Augment, Cosine, Cyclic, Extra
from robench_fire.problem.threat import L2, Linf, Threat
from robench_fire.quantity import Quantity
from robench_fire.training.engine import Trained
from robench_fire.training.setup import frozen

pytestmark = pytest.mark.usefixtures("device")


def same(a: Trained, b: Trained) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


@pytest.mark.parametrize("name", registry.names("defenses"))
def test_every_defense_learns(small: Splits, name: str) -> None:
    recipe = replace(RECIPE, epochs=6, optimiser=Adam(lr=0.02), augment=Augment(pad=0, flip=False))
    result = trained(replace(problem(small, name, recipe), threat=Linf(eps=Quantity("0.1"))))
    assert len(result.curve) == 6
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]
    assert result.curve[-1]["clean"] > 40  # chance is 10


def test_every_threat_model_trains(small: Splits) -> None:
    given = replace(problem(small, "trades", replace(RECIPE, epochs=8, batch_size=32)), threat=L2(eps=Quantity("0.3")))
    result = trained(given)
    assert result.curve[-1]["clean"] > 40
    assert 0 < result.curve[-1]["robust"] <= result.curve[-1]["clean"]


def test_same_seed_same_weights_bit_for_bit(small: Splits) -> None:
    first, second = trained(problem(small, "fire_sa")), trained(problem(small, "fire_sa"))
    other = trained(problem(small, "fire_sa"), seed=1)
    assert same(first, second)
    assert not same(first, other)


def test_training_does_not_disturb_the_callers_generators(small: Splits) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(problem(small, recipe=replace(RECIPE, epochs=1)))
    assert torch.equal(torch.rand(3), expected)


class Interrupted(Exception):
    """Stands for a kill after an epoch."""


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("fire_sa", {}),
        ("trades", {"ema_decay": 0.9}),
        ("mart", {"select": "validation"}),
        ("madry", {"schedule": Cosine()}),
        ("trades", {"schedule": Cyclic()}),
    ],
)
def test_resumed_equals_uninterrupted(small: Splits, tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    given = problem(small, name, replace(RECIPE, epochs=4, **changes))
    if name == "fire_sa":  # the memory must already have moved when the run is cut
        given = replace(given, defense=replace(given.defense, targets=replace(given.defense.targets, start=0.25)))
    uninterrupted = trained(given)
    state_file = tmp_path / "state.pt"

    def cut(curve: list[dict[str, float]]) -> None:
        if len(curve) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        trained(given, state_file=state_file, epoch_done=cut)
    resumed = trained(given, state_file=state_file)
    assert same(resumed, uninterrupted)
    assert [row["loss"] for row in resumed.curve] == [row["loss"] for row in uninterrupted.curve]


def test_a_corrupt_state_is_named_and_kept(small: Splits, tmp_path: Path) -> None:
    state_file = tmp_path / "state.pt"
    state_file.write_bytes(b"half a state")
    with pytest.raises(DataError, match=r"state\.pt cannot be read"):
        trained(problem(small), state_file=state_file)
    assert state_file.read_bytes() == b"half a state"


class Steep(Madry):
    """The root of 0: a finite gain whose gradient is no number."""

    def inner(self, views: Views) -> Tensor:
        return (0 * views.adv.sum(1)).abs().sqrt()


@pytest.mark.parametrize("threat", [Linf("0.2"), L2("0.5")], ids=lambda threat: threat.norm)
def test_an_attack_whose_gradient_is_no_number_is_never_silent(small: Splits, threat: Threat) -> None:
    given = replace(problem(small, "madry", replace(RECIPE, precision="fp32")), defense=Steep(), threat=threat)
    with pytest.raises(DivergedError, match=r"step 1 \(epoch 1, batch 1 of 4\)"):
        trained(given)


def test_non_finite_loss_stops_and_says_where(small: Splits) -> None:
    class Explodes(DigitsCNN):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            if self.training and torch.is_grad_enabled():
                Explodes.calls += 1
            return logits * (math.nan if Explodes.calls == 6 else 1)  # Madry: one train-mode pass a step

    with pytest.raises(DivergedError, match=r"step 6 \(epoch 2, batch 2 of 4\)"):
        trained(problem(small, "madry"), build=Explodes)


class Counting(nn.Module):
    """Counts forwards by (mode, whether weights get a gradient)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = DigitsCNN()
        self.seen: list[tuple[str, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        weight = next(self.parameters())
        self.seen.append(("train" if self.training else "eval", weight.requires_grad and torch.is_grad_enabled()))
        return self.inner(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "equivalents", "evals", "trains"),
    [("madry", 23, 10, 1), ("trades", 27, 11, 2), ("fire", 27, 11, 2), ("mart", 26, 10, 2), ("fire_sa", 27, 11, 2)],
)
def test_forwards_per_step(small: Splits, name: str, equivalents: int, evals: int, trains: int) -> None:
    """recipes: Madry 23, TRADES and FIRE 27, MART 26 forward-equivalents; no forward that nobody reads."""
    recipe = replace(RECIPE, attack=Pgd(steps=10, step=Quantity("0.05")), epochs=1, batch_size=256)
    model = Counting()
    trained(problem(small, name, recipe), build=lambda: model)
    validation = 1 + 1 + 10 + 1  # one batch: clean, the attack, the result
    assert model.seen.count(("train", True)) == trains
    assert len(model.seen) - trains - validation + 1 == evals
    assert work(defense(name), recipe).forward_equivalents == equivalents


def batch_norm_steps(small: Splits, name: str, **changes: Any) -> int:
    recipe = replace(RECIPE, epochs=1, batch_size=256, **changes)
    weights = trained(problem(small, name, recipe)).weights
    return int(weights["features.1.num_batches_tracked"])


def test_batch_statistics_move_exactly_as_declared(small: Splits) -> None:
    assert batch_norm_steps(small, "trades") == 2
    assert batch_norm_steps(small, "trades", passes=("clean", "adv", "clean")) == 3
    assert batch_norm_steps(small, "madry") == 1
    assert batch_norm_steps(small, "madry", attack_mode="train") == 1 + 2


def test_repeated_pass_changes_statistics_but_not_the_gradient(small: Splits) -> None:
    recipe = replace(RECIPE, epochs=1, batch_size=256)
    once = trained(problem(small, "fire", recipe)).weights
    twice = trained(problem(small, "fire", replace(recipe, passes=("adv", "clean", "adv")))).weights
    assert torch.allclose(once["classifier.0.weight"], twice["classifier.0.weight"], atol=1e-6)
    assert not torch.allclose(once["features.1.running_mean"], twice["features.1.running_mean"])


def test_frozen_restores_modes_and_flags_after_an_exception() -> None:
    model = DigitsCNN()
    model.features[1].eval()
    next(model.parameters()).requires_grad_(False)
    before = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]

    def fails_inside() -> None:
        with frozen(model):
            assert not any(m.training for m in model.modules())
            assert not any(p.requires_grad for p in model.parameters())
            raise Interrupted

    with pytest.raises(Interrupted):
        fails_inside()
    assert before == ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])


def test_pseudo_labelled_images_are_trained_on(small: Splits) -> None:
    images = Split(small.train.images[:50], small.train.labels[:50])
    recipe = replace(RECIPE, extra=Extra())
    with_them = trained(problem(small, "trades", recipe, images))
    wrong = trained(problem(small, "trades", recipe, Split(images.images, (images.labels + 1) % 10)))
    assert not same(with_them, wrong)


def test_no_attack_means_clean_training_with_one_forward(small: Splits) -> None:
    from robench_fire.training.pseudo_labels import Standard

    model = Counting()
    recipe = replace(RECIPE, attack=None, passes=("clean",), epochs=1, batch_size=256)
    given = replace(problem(small, recipe=recipe), defense=Standard())
    result = trained(given, build=lambda: model)
    assert model.seen == [("train", True), ("eval", False)]
    assert "robust" not in result.curve[-1]
