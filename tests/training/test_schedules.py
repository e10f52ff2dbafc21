"""Learning rates, weight decay, moving averages and the epoch that is kept."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainings import RECIPE, problem, trained

from robench_fire.errors import RecipeError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Splits
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Cosine, Cyclic, OneCycle, Sgd, Steps
from robench_fire.quantity import Quantity
from robench_fire.training.engine import initialised
from robench_fire.training.state import State
from robench_fire.training.validation import validate

UNSCALED = torch.amp.GradScaler("cpu", enabled=False)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        (Steps(at=(0.75, 0.9)), 100, {1: 1.0, 74: 1.0, 75: 0.1, 89: 0.1, 90: 0.01, 100: 0.01}),
        (Steps(at=(75 / 76,)), 76, {74: 1.0, 75: 0.1, 76: 0.1}),
        (Steps(at=()), 5, {1: 1.0, 5: 1.0}),
        (Steps(at=(0.75, 0.9)), 1, {1: 1.0}),
        (Steps(at=(0.1,)), 2, {1: 1.0, 2: 0.1}),
        (Steps(at=(0.75, 0.9)), 2, {1: 1.0, 2: 0.1}),  # reached at once, and one drop
        (Steps(at=(0.5, 0.9)), 3, {1: 1.0, 2: 0.1, 3: 0.01}),
        (Cosine(), 200, {1: 1.0, 101: 0.5, 200: 0.5 * (1 + math.cos(math.pi * 199 / 200))}),
    ],
)
def test_learning_rate_of_each_epoch(schedule: Steps | Cosine, epochs: int, expected: dict[int, float]) -> None:
    """Epochs count from 1, as in the papers: a drop at 75 of 100 begins with epoch 75."""
    from robench_fire.training.state import fresh

    recipe = replace(RECIPE, schedule=schedule, epochs=epochs, optimiser=Sgd(lr=1.0))
    state = fresh(DigitsCNN(), recipe, [], UNSCALED, updates=epochs)
    rates = {}
    for epoch in range(1, epochs + 1):
        rates[epoch] = state.schedule.get_last_lr()[0]
        state.optimiser.step()
        state.schedule.step()
    assert {epoch: rates[epoch] for epoch in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("peak", "epochs"), [(0.5, 4), (0.25, 2), (0.01, 1)])
def test_a_cyclic_rate_is_one_triangle_over_all_updates(small: Splits, peak: float, epochs: int) -> None:
    """Wong et al. 2020: straight from 0 to the peak and back, update by update; against piecewise interpolation."""
    rates: list[float] = []
    inner = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *given: Any, **more: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return inner(self, *given, **more)

    recipe = replace(RECIPE, epochs=epochs, schedule=Cyclic(peak=peak), optimiser=Sgd(lr=0.2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", step)
        result = trained(problem(small, recipe=recipe))
    updates = epochs * math.ceil(len(small.train.labels) / recipe.batch_size)
    top = max(round(peak * updates), 1)
    expected = np.interp(np.arange(updates), [0, top, updates], [0.0, 0.2, 0.0])
    assert rates == pytest.approx(expected.tolist(), abs=1e-12)
    each = updates // epochs
    highest = [max(rates[first : first + each]) for first in range(0, updates, each)]
    assert [row["lr"] for row in result.curve] == pytest.approx(highest)


def test_a_cyclic_rate_over_one_update_is_refused(small: Splits) -> None:
    recipe = replace(RECIPE, epochs=1, batch_size=len(small.train.labels), schedule=Cyclic())
    with pytest.raises(RecipeError, match="two updates"):
        trained(problem(small, recipe=recipe))


@pytest.mark.parametrize(
    ("peak", "div", "final_div", "steps"), [(0.3, 25, 1e4, 100), (0.25, 10, 100, 9), (0.6, 25, 1, 5)]
)
@pytest.mark.parametrize("per_update", [True, False])
def test_one_cycle_is_torchs(peak: float, div: float, final_div: float, steps: int, per_update: bool) -> None:
    """Its rates; the momentum is left alone."""
    from robench_fire.training.state import fresh

    schedule = OneCycle(peak=peak, div=div, final_div=final_div, per_update=per_update)
    epochs, updates = (1, steps) if per_update else (steps, 7)
    recipe = replace(RECIPE, schedule=schedule, epochs=epochs, optimiser=Sgd(lr=0.2))
    state = fresh(DigitsCNN(), recipe, [], UNSCALED, updates)
    theirs = torch.optim.SGD(DigitsCNN().parameters(), lr=0.2)
    expected = torch.optim.lr_scheduler.OneCycleLR(
        theirs, 0.2, total_steps=steps, pct_start=peak, div_factor=div, final_div_factor=final_div
    )
    for _ in range(steps):
        assert state.schedule.get_last_lr()[0] == pytest.approx(expected.get_last_lr()[0], rel=1e-9)
        assert {group["momentum"] for group in state.optimiser.param_groups} == {0.9}
        for optimiser, each in ((state.optimiser, state.schedule), (theirs, expected)):
            optimiser.step()
            each.step()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_cycle_of_few_steps_begins_at_its_peak(steps: int) -> None:
    from robench_fire.training.state import fresh

    state = fresh(DigitsCNN(), replace(RECIPE, schedule=OneCycle(), optimiser=Sgd(lr=0.2)), [], UNSCALED, steps)
    rates = []
    for _ in range(steps):
        rates.append(state.schedule.get_last_lr()[0])
        state.optimiser.step()
        state.schedule.step()
    assert rates[0] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)


def test_weight_decay_can_spare_biases_and_batch_norm() -> None:
    from robench_fire.training.state import fresh

    optimiser = fresh(DigitsCNN(), replace(RECIPE, optimiser=Sgd(decay_only_weights=True)), [], UNSCALED, 9).optimiser
    decayed, spared = optimiser.param_groups
    assert all(p.dim() > 1 for p in decayed["params"])
    assert all(p.dim() == 1 for p in spared["params"])
    assert spared["weight_decay"] == 0


def test_validation_chooses_the_epoch(small: Splits) -> None:
    recipe = replace(RECIPE, epochs=4, select="validation", optimiser=Sgd(lr=0.05))
    chosen = trained(problem(small, "trades", recipe))
    best = max(chosen.curve, key=lambda row: (row["robust"], row["epoch"]))
    models: list[nn.Module] = []
    after: dict[int, dict[str, Tensor]] = {}

    def build() -> nn.Module:
        models.append(DigitsCNN())
        return models[-1]

    def remember(curve: list[dict[str, float]]) -> None:
        after[len(curve)] = {name: value.clone() for name, value in models[-1].state_dict().items()}

    trained(problem(small, "trades", recipe), build=build, epoch_done=remember)
    assert all(torch.equal(chosen.weights[name], after[int(best["epoch"])][name]) for name in chosen.weights)


def test_moving_average_is_what_is_evaluated(small: Splits) -> None:
    recipe = replace(RECIPE, epochs=1, batch_size=256, ema_decay=0.9)
    start = initialised(DigitsCNN, 0).state_dict()["classifier.0.weight"]
    plain = trained(problem(small, "trades", replace(recipe, ema_decay=None))).weights["classifier.0.weight"]
    averaged = trained(problem(small, "trades", recipe)).weights["classifier.0.weight"]
    assert torch.allclose(averaged, 0.9 * start + 0.1 * plain, atol=1e-6)


def test_a_warm_up_forgets_the_random_beginning(small: Splits) -> None:
    """The decay of update t is at most (1 + t) / (10 + t), across epochs; here of four updates of two epochs."""
    recipe = replace(RECIPE, epochs=2, batch_size=128, ema_decay=0.3, ema_warm_up=True)
    name, path = "classifier.0.weight", [initialised(DigitsCNN, 0).state_dict()["classifier.0.weight"]]
    inner = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *given: Any, **more: Any) -> Any:
        found = inner(self, *given, **more)
        path.extend(p.detach().clone() for group in self.param_groups for p in group["params"]
                    if p.shape == path[0].shape)  # fmt: skip
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", step)
        found = trained(problem(small, "trades", recipe)).weights[name]
    expected = path[0]
    for t, weight in enumerate(path[1:], 1):
        decay = min(0.3, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * weight
    assert len(path) == 5
    assert torch.allclose(found, expected, atol=1e-6)


def test_validation_chooses_the_epoch_and_the_copy(small: Splits) -> None:
    """Under an attack of its own; of equal copies the plain one, of equal epochs the later."""
    attack = Pgd(steps=1, step=Quantity("0.2"), start="zero")
    recipe = replace(RECIPE, epochs=4, ema_decay=0.6, select="copies", validation_attack=attack, optimiser=Sgd(lr=0.2))
    given = problem(small, "trades", recipe)
    chosen = trained(given)
    kept: dict[tuple[int, bool], dict[str, Tensor]] = {}

    def remember(state: State, *rest: Any) -> Any:
        epoch = rest[2]
        kept.update({(epoch, plain): state.weights(0, plain) for plain in (True, False)})
        return validate(state, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robench_fire.training.engine.validate", remember)
        trained(given)
    for row in chosen.curve:
        assert row["averaged"] == float(row["robust_averaged"] > row["robust_plain"])
        copy = "averaged" if row["averaged"] else "plain"
        assert (row["clean"], row["robust"]) == (row[f"clean_{copy}"], row[f"robust_{copy}"])
    assert len({row["averaged"] for row in chosen.curve}) == 2  # or nothing was chosen
    best = max(chosen.curve, key=lambda row: (row["robust"], row["epoch"]))
    expected = kept[int(best["epoch"]), not best["averaged"]]
    assert all(torch.equal(chosen.weights[name], value) for name, value in expected.items())
    usual = trained(problem(small, "trades", replace(recipe, validation_attack=None)))
    assert [row["loss"] for row in usual.curve] == [row["loss"] for row in chosen.curve]
    assert sum(row["robust_plain"] for row in usual.curve) < sum(row["robust_plain"] for row in chosen.curve)
