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
from robench_fire.problem.recipe import Cosine, Cyclic, Sgd, Steps
from robench_fire.training.engine import initialised

UNSCALED = torch.amp.GradScaler("cpu", enabled=False)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        (Steps(at=(0.75, 0.9)), 100, {1: 1.0, 74: 1.0, 75: 0.1, 89: 0.1, 90: 0.01, 100: 0.01}),
        (Steps(at=(75 / 76,)), 76, {74: 1.0, 75: 0.1, 76: 0.1}),
        (Steps(at=()), 5, {1: 1.0, 5: 1.0}),
        (Steps(at=(0.75, 0.9)), 1, {1: 1.0}),
        (Steps(at=(0.1,)), 2, {1: 1.0, 2: 0.1}),
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
