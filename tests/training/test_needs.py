"""Everything that a loss can ask for: its updates are those that plain torch makes of the same formula."""

from __future__ import annotations

import pytest
import torch
from needs import NEEDS, problem
from straight_line import CPU, STATEMENTS, straight
from torch import Tensor, nn

from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.training.engine import train


def near(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)


def test_every_need_has_a_statement() -> None:
    assert set(STATEMENTS) == set(NEEDS)


def perturbed_from(name: str) -> float:
    """The share of the epochs from which on a need's weights are perturbed."""
    weights = NEEDS[name].defense.weights
    return 1.0 if weights is None else weights.start  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NEEDS)
def test_updates_are_those_of_plain_torch(name: str) -> None:
    """Two epochs of one batch: the weights, the momentum's effect on them, and batch norm's statistics."""
    given = problem(name)
    expected = straight(name, given, DigitsCNN, perturbed_from(name)).state_dict()
    near(train(DigitsCNN, given, seed=0, device=CPU).weights, expected)
