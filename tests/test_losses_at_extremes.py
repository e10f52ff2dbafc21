"""Every divergence and its gradient where naive formulas give NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from divergences import (
    ADV,
    ANGLES,
    CLEAN,
    DIVERGENCES,
    Divergence,
    one_hot,
    seeded,
    value_and_gradients,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from robench_fire import losses
from robench_fire.losses import (
    cross_entropy,
    distance,
    jensen_shannon,
    kl,
    log_softmax,
    squared_fisher_rao,
    squared_half_angle,
    squared_hellinger,
    total_variation,
    weighted_mse,
)


def confident(gap: float, own: int, dtype: torch.dtype) -> Tensor:
    logits = torch.zeros(1, 10, dtype=dtype)
    logits[0, own] = gap
    return logits


GAPS = [20.0, 60.0, 104.0, 200.0, 300.0]


DTYPES = [torch.float32, torch.bfloat16]


def assert_finite(divergence: Divergence, a: Tensor, b: Tensor) -> Tensor:
    value, *gradients = value_and_gradients(divergence, a, b)
    assert value.isfinite().all()
    assert value.dtype == torch.float32
    assert all(gradient.isfinite().all() for gradient in gradients)
    return value


FINITE = [0.0, 1e-45, 1e-30, 1e-7, 1e-3, 1.0, 20.0, 104.0, 1e4, 6e4, 1e9, 1e18, 1e30, 3e38]
"""Sizes of logits that float32 holds."""


@st.composite
def logits(draw: st.DrawFn, largest: float) -> tuple[Tensor, Tensor]:
    """Two (2, C) of one format, equal, nearly so, or of whatever size that it holds, up to ``largest``."""
    dtype = draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
    most = min(largest, torch.finfo(dtype).max)
    sizes = [sign * each for each in FINITE if each <= most for sign in (1, -1)]
    shape = (2, draw(st.integers(2, 10)))
    values = arrays(np.float64, shape, elements=st.sampled_from(sizes) | st.floats(-1e4, 1e4))
    one = torch.from_numpy(draw(values)).to(dtype)
    apart = draw(st.sampled_from([0.0, 1e-7, 1e-3, 1.0]))
    near = (one + apart * seeded(*shape)).clamp(-most, most).to(dtype)
    return one, near if draw(st.booleans()) else torch.from_numpy(draw(values)).to(dtype)


@pytest.mark.parametrize(("divergence", "largest"), [*((each, 3e38) for each in DIVERGENCES), (distance, 1e18)])
@given(data=st.data(), under=st.booleans())
def test_any_finite_logits(divergence: Divergence, largest: float, data: st.DataObject, under: bool) -> None:
    """Not negative, finite with finite gradients, symmetric but for KL, 0 at equality; also under autocast.

    The squares of outputs beyond 1e18 are no numbers of float32.
    """
    a, b = data.draw(logits(largest))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=under):
        value, *gradients = value_and_gradients(divergence, a, b)
        turned, (equal, *flat) = divergence(b, a), value_and_gradients(divergence, a, a)
    assert value.dtype == torch.promote_types(a.dtype, torch.float32)
    assert value.isfinite().all()
    assert (value >= 0).all()
    assert all(each.isfinite().all() for each in gradients)
    assert divergence is kl or torch.equal(value, turned)
    assert equal.eq(0).all()
    assert all(each.abs().max() <= 1e-6 for each in flat)


@given(data=st.data())
def test_any_finite_logits_have_a_finite_cross_entropy(data: st.DataObject) -> None:
    a, b = data.draw(logits(3e38))
    target = torch.softmax(b.double(), 1).to(a.dtype)
    value, gradient, _ = value_and_gradients(cross_entropy, a, target)
    assert value.isfinite().all()
    assert (value >= 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("apart", [1e-15, 1e-7, 1.0, 300.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_distance_of_near_and_far_outputs_has_a_gradient_of_length_1(dtype: torch.dtype, apart: float) -> None:
    a, b = torch.zeros(1, 10, dtype=dtype), confident(apart, 0, dtype)
    value, grad_a, grad_b = value_and_gradients(distance, a, b)
    assert value.item() == pytest.approx(apart, rel=1e-2)
    assert value.dtype == torch.float32
    assert grad_b[0].tolist() == [1, *[0] * 9]
    assert grad_a.equal(-grad_b)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_finite_and_at_its_limit_at_opposite_logits(dtype: torch.dtype, gap: float) -> None:
    a, b = confident(gap, 0, dtype), confident(gap, 1, dtype)
    assert assert_finite(squared_fisher_rao, a, b).item() == pytest.approx(math.pi**2, abs=2e-3 if gap == 20 else 1e-5)
    assert assert_finite(squared_half_angle, a, b).item() == pytest.approx(math.pi**2 / 4, abs=1e-3)
    assert assert_finite(squared_hellinger, a, b).item() == pytest.approx(2, abs=1e-3)
    assert assert_finite(jensen_shannon, a, b).item() == pytest.approx(math.log(2), abs=1e-5)
    assert assert_finite(total_variation, a, b).item() == pytest.approx(1, abs=1e-5)
    assert assert_finite(kl, a, b).item() == pytest.approx(gap, rel=1e-5)
    assert cross_entropy(b, one_hot(torch.tensor([0]), 10)).item() == pytest.approx(gap, rel=1e-5)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_weighted_mse_is_finite_in_float32(dtype: torch.dtype, gap: float) -> None:
    a, b, weight = confident(gap, 0, dtype), confident(gap, 1, dtype), torch.full((1, 10), 0.1)

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        return weighted_mse(x, y, weight)

    assert assert_finite(weighted, a, a).item() == 0
    assert assert_finite(weighted, a, b).item() == pytest.approx(0.1 * gap**2, rel=1e-2)


@pytest.mark.parametrize("shift", [1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("angle", [*ANGLES, jensen_shannon, total_variation])
def test_float32_is_accurate_near_equality(angle: Divergence, shift: float) -> None:
    a = seeded(200, 10).float()
    b = a + shift * seeded(200, 10, seed=1).float()
    torch.testing.assert_close(angle(a, b).double(), angle(a.double(), b.double()), rtol=3e-6 / min(shift, 1), atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_computed_in_float32_or_wider(dtype: torch.dtype) -> None:
    a, b = CLEAN.to(dtype), ADV.to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    values = [kl(a, b), squared_half_angle(a, b), squared_fisher_rao(a, b), log_softmax(a)]
    assert [value.dtype for value in values] == [wide] * len(values)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = [kl(a, b), squared_half_angle(a, b), squared_fisher_rao(a, b), log_softmax(a)]
    for value, other in zip(values, under_autocast, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_a_cosine_has_no_scale(scale: float) -> None:
    a, b = torch.randn(2, 20, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(losses.cosine(scale * a, b / scale), torch.cosine_similarity(a, b))
    x = (scale * a).requires_grad_()
    (gradient,) = torch.autograd.grad(losses.cosine(x, b).sum(), x)
    assert gradient.isfinite().all()


def test_a_row_of_zeros_has_no_cosine_and_no_gradient() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    found = losses.cosine(x, torch.ones(3, 4))
    assert found.eq(0).all()
    assert torch.autograd.grad(found.sum(), x)[0].eq(0).all()


def test_a_nuclear_norm_is_finite_where_there_is_no_difference() -> None:
    x = torch.zeros(6, 4, requires_grad=True)
    found = losses.nuclear_norm(x)
    assert found == 0
    assert torch.autograd.grad(found, x)[0].isfinite().all()
    assert losses.nuclear_norm(torch.diag(torch.tensor([3.0, -4.0]))).item() == pytest.approx(7)
