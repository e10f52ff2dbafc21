"""Everything that a loss can ask for: its updates are those of plain torch, wherever and however they are made."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from devices import here
from needs import AWP, CLEAN, NEEDS, problem
from small_defenses import DoubleBackprop, Features, Slopes, Trades
from straight_line import CPU, KERNELS, STATEMENTS, straight
from torch import Tensor

from robench_fire.devices.precision import supported
from robench_fire.errors import RecipeError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.threat import L2
from robench_fire.quantity import Quantity
from robench_fire.training.engine import prepared, train, train_together
from robench_fire.training.weights import move_back, moved_uphill


class Double(DigitsCNN):
    """In float64."""

    def __init__(self) -> None:
        super().__init__()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


def near(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 2e-6) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)


def test_every_need_has_a_statement() -> None:
    assert set(STATEMENTS) == set(NEEDS)


def perturbed_from(name: str) -> float:
    """The share of the epochs from which on a need's weights are perturbed."""
    weights = NEEDS[name].defense.weights
    return 2.0 if weights is None else weights.start  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NEEDS)
def test_updates_are_those_of_plain_torch(name: str) -> None:
    """Two epochs of one batch: the weights, the momentum's effect on them, and batch norm's statistics."""
    given = problem(name)
    expected = straight(name, given, DigitsCNN, perturbed_from(name)).state_dict()
    near(train(DigitsCNN, given, seed=0, device=CPU).weights, expected)


TERMS = {
    "further image": "natural robust helper",
    "second attack": "natural robust wrong",
    "features": "natural robust features",
    "slopes": "robust slope",
    "batch term": "natural robust nuclear",
    "mixup": "natural robust",
    "teacher of both": "natural robust told",
    "memory of classes": "natural robust typical",
    "batch gain": "natural robust nuclear",
    "slopes at a random image": "natural robust near slope",
    "replays": "natural robust",
}


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(("name", "terms"), TERMS.items())
def test_it_learns_and_the_curve_has_every_term(name: str, terms: str) -> None:
    curve = train(DigitsCNN, problem(name, 256, epochs=6), seed=0, device=here()).curve
    named = [each for each in curve[-1] if each.startswith("loss_")]
    assert named == [f"loss_{each}" for each in terms.split()]
    assert curve[-1]["loss"] == pytest.approx(sum(curve[-1][each] for each in named))
    assert curve[-1]["loss"] < curve[0]["loss"]


@pytest.mark.parametrize("name", [name for name in NEEDS if name != "features"])
def test_side_by_side_as_alone(name: str) -> None:
    """In L2, where no sign turns rounding into a step; what replays leave grows with rounding all the same."""
    given, build = problem(name, 128, L2(eps=Quantity("0.3"))), Double if name.startswith("replays") else DigitsCNN
    pair = train_together(build, given, seeds=(0, 3), device=CPU, state_files=[None] * 2)
    for seed, found in zip((0, 3), pair, strict=True):
        expected = train(build, given, seed=seed, device=CPU)
        near(found.weights, expected.weights, 5e-4)
        for row, own in zip(found.curve, expected.curve, strict=True):
            losses = {key: value for key, value in own.items() if key.startswith("loss")}
            assert {key: row[key] for key in losses} == pytest.approx(losses, rel=1e-3, abs=1e-6)


def test_features_do_not_go_side_by_side() -> None:
    said = "several seeds cannot be trained at once: its loss reads features, which stacked models do not give; leave"
    with pytest.raises(RecipeError, match=said):
        train_together(DigitsCNN, problem("features"), seeds=(0, 3), device=CPU, state_files=[None] * 2)


class Interrupted(Exception):
    """Stands for a kill after an epoch."""


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", NEEDS)
def test_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    """Cut in the middle of a ramp, and at the epoch from which on weights are perturbed."""
    given, file = problem(name, epochs=4), tmp_path / "state.pt"

    def cut(curve: list[dict[str, float]]) -> None:
        if len(curve) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(DigitsCNN, given, seed=0, device=here(), state_file=file, epoch_done=cut)
    resumed = train(DigitsCNN, given, seed=0, device=here(), state_file=file)
    whole = train(DigitsCNN, given, seed=0, device=here())
    assert all(torch.equal(resumed.weights[key], value) for key, value in whole.weights.items())
    assert [row["loss"] for row in resumed.curve] == [row["loss"] for row in whole.curve]


@pytest.mark.skipif("bf16" not in supported(CPU), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("name", NEEDS)
def test_in_bfloat16(name: str) -> None:
    """Its products are rounded to 8 bits; losses, gradients of images and perturbations stay float32."""
    found = train(DigitsCNN, problem(name, precision="bf16"), seed=0, device=CPU)
    exact = train(DigitsCNN, problem(name), seed=0, device=CPU)
    assert found.arithmetic["update"] == "bf16"
    assert found.curve[-1]["loss"] == pytest.approx(exact.curve[-1]["loss"], rel=0.02)
    near(found.weights, exact.weights, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["further image", "second attack", "features", "batch term", "ramp", "teacher of both",
                                  "perturbed weights, all at once"])  # fmt: skip
def test_compiled(name: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by torch's compiler, forward and backward; run by its plain operators, which takes no C++ compiler."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()
    given = problem(name, precision="fp32")
    expected = train(DigitsCNN, given, seed=0, device=device)
    found = train(DigitsCNN, given, seed=0, device=device, compiling=True, say=pytest.fail)
    assert found.arithmetic["compiled"] == "True"
    near(found.weights, expected.weights, 2e-6 if device.type == "cpu" else 1e-2)


def test_gradients_of_gradients_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    said: list[str] = []
    found = train(DigitsCNN, problem("slopes"), seed=0, device=CPU, compiling=True, say=said.append)
    assert said == ["the update is not compiled: torch.compile makes no gradients of gradients"]
    assert found.arithmetic["compiled"] == "False"
    near(found.weights, train(DigitsCNN, problem("slopes"), seed=0, device=CPU).weights)


@pytest.mark.parametrize("seeds", [(0,), (0, 3)])
def test_weights_move_by_a_share_of_their_own_norm_and_back(seeds: tuple[int, ...]) -> None:
    state, _ = prepared(DigitsCNN, problem("perturbed weights"), seeds, CPU)
    x = torch.rand(8 * len(seeds), 1, 8, 8)
    names = [name for name, _ in DigitsCNN().named_parameters()]
    before = [each.detach().clone() for each in state.model.parameters()]
    buffers = [each.clone() for each in state.model.buffers()]
    moves = moved_uphill(state, AWP, lambda: state.model(x).square().sum())
    assert all(each.grad is None for each in state.model.parameters())
    for own, kept in zip(state.model.buffers(), buffers, strict=True):
        assert torch.equal(own, kept)
    for name, weight, old, (_, offset) in zip(names, state.model.parameters(), before, moves, strict=True):
        for number, one in enumerate(old) if len(seeds) > 1 else [(0, old)]:
            moved = offset[number] if len(seeds) > 1 else offset
            assert moved.norm() == pytest.approx(0.02 * float(one.norm()) if name in KERNELS else 0.0, rel=1e-5), name
        assert torch.equal(weight, old + offset)
    move_back(moves)
    for weight, old in zip(state.model.parameters(), before, strict=True):
        torch.testing.assert_close(weight.detach(), old, rtol=1e-6, atol=1e-7)


def test_a_weight_without_a_usable_gradient_stays() -> None:
    weight = torch.rand(3, 2)
    for gradient in (torch.zeros(3, 2), torch.full((3, 2), torch.nan), torch.full((3, 2), torch.inf)):
        assert not AWP.offset("a.weight", weight, gradient).any()
    assert not AWP.offset("a.bias", torch.rand(3), torch.rand(3)).any()
    assert not AWP.offset("positions", weight, torch.rand(3, 2)).any()


def test_without_an_attack_the_perturbed_images_are_the_clean_ones() -> None:
    """So are their features and gradients."""
    given = problem("slopes without an attack")
    expected = train(DigitsCNN, given, seed=0, device=CPU).weights
    near(train(DigitsCNN, replace(given, defense=Slopes()), seed=0, device=CPU).weights, expected)
    assert isinstance(given.defense, DoubleBackprop)
    apart = train(DigitsCNN, replace(problem("features", **CLEAN), defense=Features()), seed=0, device=CPU).curve
    assert [row["loss_features"] for row in apart] == [0, 0]


def test_what_attacks_pass_through_the_last_layer_is_not_kept() -> None:
    _, setup = prepared(DigitsCNN, problem("features"), [0], CPU)
    passes = setup.passes
    x = torch.rand(4, 1, 8, 8)
    passes.model(x)  # type: ignore[operator]
    assert passes._seen == []
    found = passes({"clean": x, "adv": x + 0.1})
    assert {name: each.shape for name, each in found.features.items()} == {"clean": (4, 64), "adv": (4, 64)}
    assert passes._seen == []


def test_given_weights_are_begun_from() -> None:
    given = problem("start")
    assert given.begin is not None
    started, fresh = (prepared(DigitsCNN, each, [0], CPU)[0].weights(0) for each in (given, replace(given, begin=None)))
    other = prepared(DigitsCNN, replace(given, begin=None), [200], CPU)[0].weights(0)
    assert all(torch.equal(started[name], value) for name, value in other.items())
    assert not torch.equal(started["classifier.0.weight"], fresh["classifier.0.weight"])
    assert Trades() == given.defense
