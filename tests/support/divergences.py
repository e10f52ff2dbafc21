"""The divergences, and logits for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from robench_fire.losses import (
    jensen_shannon,
    kl,
    squared_fisher_rao,
    squared_half_angle,
    squared_hellinger,
    total_variation,
)

Divergence = Callable[[Tensor, Tensor], Tensor]


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


CLEAN = torch.tensor([[2, 0, -1], [0, 1, 1.5]], dtype=torch.float64)


ADV = torch.tensor([[0.5, 1, -0.5], [-1, 2, 2.5]], dtype=torch.float64)


DIVERGENCES = [kl, squared_hellinger, squared_half_angle, squared_fisher_rao, jensen_shannon, total_variation]


ANGLES = [squared_half_angle, squared_fisher_rao]


each_divergence = pytest.mark.parametrize("divergence", DIVERGENCES)


each_angle = pytest.mark.parametrize("angle", ANGLES)


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    return torch.eye(num_classes, dtype=torch.float64)[label]


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value_and_gradients(divergence: Divergence, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    value = divergence(a, b)
    grad_a, grad_b = torch.autograd.grad(value.sum(), (a, b))
    return value.detach(), grad_a, grad_b


generic = settings(deadline=None, max_examples=60)


@st.composite
def pairs(draw: st.DrawFn, largest: float = 30.0) -> Pair:
    """Two (N, C) arrays of logits."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 12)))
    logits = arrays(np.float64, shape, elements=st.floats(-largest, largest))
    return draw(logits), draw(logits)


def tensors(pair: Pair) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(pair[0]), torch.from_numpy(pair[1])
