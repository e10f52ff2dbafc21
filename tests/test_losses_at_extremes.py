"""Every divergence and its gradient where naive formulas give NaN."""

from __future__ import annotations

import math

import pytest
import torch
from divergences import (
    ADV,
    CLEAN,
    Divergence,
    each_angle,
    each_divergence,
    one_hot,
    seeded,
    value_and_gradients,
)
from torch import Tensor

from robench_fire import losses
from robench_fire.losses import (
    cross_entropy,
    distance,
    kl,
    log_softmax,
    squared_fisher_rao,
    squared_half_angle,
    squared_hellinger,
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


@pytest.mark.parametrize("dtype", DTYPES)
@each_divergence
def test_finite_at_identical_logits(divergence: Divergence, dtype: torch.dtype) -> None:
    a = seeded(500, 10).to(dtype)
    value, grad_a, grad_b = value_and_gradients(divergence, a, a)
    assert value.eq(0).all()
    for gradient in (grad_a, grad_b):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [1e-7, 1e-5, 1e-3, 1e-2])
@pytest.mark.parametrize("dtype", DTYPES)
@each_divergence
def test_finite_at_a_tiny_shift(divergence: Divergence, dtype: torch.dtype, shift: float) -> None:
    a = seeded(500, 10)
    assert_finite(divergence, a.to(dtype), (a + shift * seeded(500, 10, seed=1)).to(dtype))


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("dtype", DTYPES)
@each_divergence
def test_finite_at_saturated_logits(divergence: Divergence, dtype: torch.dtype, gap: float) -> None:
    a = confident(gap, 0, dtype)
    assert assert_finite(divergence, a, a).item() == 0
    assert assert_finite(divergence, a, a + seeded(1, 10).to(dtype)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_the_distance_of_equal_outputs_has_value_and_gradient_0(dtype: torch.dtype) -> None:
    a = seeded(500, 10).to(dtype)
    for each in value_and_gradients(distance, a, a):
        assert each.eq(0).all()


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
    assert assert_finite(kl, a, b).item() == pytest.approx(gap, rel=1e-5)
    assert cross_entropy(b, one_hot(torch.tensor([0]), 10)).item() == pytest.approx(gap, rel=1e-5)


@each_divergence
def test_finite_where_only_one_side_is_saturated(divergence: Divergence) -> None:
    for gap in GAPS:
        uniform, sure = torch.zeros(1, 10), confident(gap, 3, torch.float32)
        assert_finite(divergence, uniform, sure)
        assert_finite(divergence, sure, uniform)


@pytest.mark.parametrize("shift", [1e-3, 1e-2, 1.0])
@each_angle
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
