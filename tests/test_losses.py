"""Every divergence against its equation: golden values, restatements, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from divergences import (
    ADV,
    CLEAN,
    DIVERGENCES,
    Divergence,
    Pair,
    each_angle,
    each_divergence,
    one_hot,
    pairs,
    seeded,
    tensors,
    value_and_gradients,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax as scipy_log_softmax
from scipy.special import rel_entr
from scipy.special import softmax as scipy_softmax
from torch import Tensor

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
)

LABEL = torch.tensor([0, 2])


THRESHOLD = 0.01  # of t = sin²(θ/2), where the series hands over to the closed form


def arccos_form(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """θ² as the paper writes it: arccos of the Bhattacharyya coefficient, squared."""
    coefficient = np.sqrt(scipy_softmax(a, axis=1) * scipy_softmax(b, axis=1)).sum(1)
    return np.arccos(np.minimum(coefficient, 1)) ** 2


def at_angle(theta: float) -> tuple[Tensor, Tensor]:
    """Two-class logits whose square-root probabilities (cos φ, sin φ) are ``theta`` apart on the circle."""
    phi = torch.tensor([0.4, 0.4 + theta], dtype=torch.float64)
    first, second = (-2 * phi.tan().log()).tolist()
    return torch.tensor([[first, 0]], dtype=torch.float64), torch.tensor([[second, 0]], dtype=torch.float64)


def at_quarter_chord(t: float) -> tuple[Tensor, Tensor]:
    return at_angle(2 * math.asin(math.sqrt(t)))


def test_golden_cross_entropy() -> None:
    target = one_hot(LABEL, 3)
    assert cross_entropy(CLEAN, target).mean().item() == pytest.approx(0.386988312447, abs=1e-9)
    assert cross_entropy(ADV, target).mean().item() == pytest.approx(0.798414879335, abs=1e-9)


@pytest.mark.parametrize(
    ("divergence", "rows"),
    [
        (kl, [0.56477646, 0.13247185]),
        (squared_half_angle, [0.30721300, 0.04861260]),
        (squared_fisher_rao, [1.22885201, 0.19445040]),
        (squared_hellinger, [0.29942812, 0.04841599]),
        (jensen_shannon, [0.14482821, 0.02278849]),
        (total_variation, [0.51229577, 0.10350180]),
    ],
)
def test_golden_rows(divergence: Divergence, rows: list[float]) -> None:
    assert divergence(CLEAN, ADV).tolist() == pytest.approx(rows, abs=5.1e-9)  # the digits that are given


@pytest.mark.parametrize(
    ("divergence", "mean"),  # from the golden totals: (TRADES 6 - CE) / 6, (FIRE 12 - CE) / 12, and so on
    [
        (kl, (2.478733235444 - 0.386988312447) / 6),
        (squared_half_angle, (2.521941924150 - 0.386988312447) / 12),
        (squared_fisher_rao, (8.926802759257 - 0.386988312447) / 12),
        (squared_hellinger, (2.474052933537 - 0.386988312447) / 12),
    ],
)
def test_golden_means(divergence: Divergence, mean: float) -> None:
    assert divergence(CLEAN, ADV).mean().item() == pytest.approx(mean, abs=1e-9)


def test_golden_gradient() -> None:
    _, _, gradient = value_and_gradients(squared_fisher_rao, CLEAN, ADV)
    assert gradient[0].tolist() == pytest.approx([-1.040520295330, 0.905229697845, 0.135290597486], abs=1e-9)


@given(pairs())
def test_log_softmax_restated(pair: Pair) -> None:
    np.testing.assert_allclose(log_softmax(tensors(pair)[0]), scipy_log_softmax(pair[0], axis=1), atol=1e-12)


@given(pairs())
def test_cross_entropy_restated(pair: Pair) -> None:
    logits, mass = pair[0], np.abs(pair[1])
    expected = -np.einsum("nk,nk->n", mass, scipy_log_softmax(logits, axis=1))
    np.testing.assert_allclose(cross_entropy(*tensors((logits, mass))), expected, rtol=1e-12, atol=1e-12)


@given(pairs())
def test_kl_restated(pair: Pair) -> None:
    p, q = (scipy_softmax(logits, axis=1) for logits in pair)
    np.testing.assert_allclose(kl(*tensors(pair)), rel_entr(p, q).sum(1), rtol=1e-11, atol=1e-12)


@given(pairs())
def test_angles_restated(pair: Pair) -> None:
    expected = arccos_form(*pair)
    np.testing.assert_allclose(squared_half_angle(*tensors(pair)), expected, atol=1e-13)
    np.testing.assert_allclose(squared_fisher_rao(*tensors(pair)), 4 * expected, atol=1e-12)


@pytest.mark.parametrize("theta", [1e-8, 1e-5, 1e-3, 0.1, 0.2, 0.21, 0.5, 1.0, 1.1])
def test_angle_is_exact_where_it_is_known(theta: float) -> None:
    assert squared_half_angle(*at_angle(theta)).item() == pytest.approx(theta**2, rel=1e-7 if theta < 1e-6 else 1e-10)


@given(pairs(largest=6))
def test_fisher_rao_gradient_restated(pair: Pair) -> None:
    """16 Φ(t) has the gradients 4 Φ'(t) (v (v - u) - s q / 2) and 4 Φ'(t) (u (u - v) - s p / 2), with s = 4 t."""
    p, q = (scipy_softmax(logits, axis=1) for logits in pair)
    u, v = np.sqrt(p), np.sqrt(q)
    s = ((u - v) ** 2).sum(1, keepdims=True)
    t = np.clip(s / 4, 1e-300, 0.5)
    slope = 4 * np.arcsin(np.sqrt(t)) / np.sqrt(t * (1 - t))
    _, grad_a, grad_b = value_and_gradients(squared_fisher_rao, *tensors(pair))
    np.testing.assert_allclose(grad_b, slope * (v * (v - u) - s / 2 * q), atol=1e-11)
    np.testing.assert_allclose(grad_a, slope * (u * (u - v) - s / 2 * p), atol=1e-11)


def test_kl_is_not_symmetric() -> None:
    assert not torch.allclose(kl(CLEAN, ADV), kl(ADV, CLEAN))


@given(pairs(largest=10))
def test_hellinger_restated(pair: Pair) -> None:
    """H² = 2 (1 - BC), with the gradients q BC - √(p q) and p BC - √(p q)."""
    p, q = (scipy_softmax(logits, axis=1) for logits in pair)
    overlap = np.sqrt(p * q)
    coefficient = overlap.sum(1, keepdims=True)
    value, grad_a, grad_b = value_and_gradients(squared_hellinger, *tensors(pair))
    np.testing.assert_allclose(value, 2 * (1 - coefficient[:, 0]), atol=1e-13)
    np.testing.assert_allclose(grad_a, p * coefficient - overlap, atol=1e-13)
    np.testing.assert_allclose(grad_b, q * coefficient - overlap, atol=1e-13)


def test_golden_distance() -> None:
    assert distance(CLEAN, ADV).tolist() == pytest.approx([math.sqrt(3.5), math.sqrt(3)], abs=1e-12)


@given(pairs())
def test_distance_restated(pair: Pair) -> None:
    """‖a - b‖₂, with the unit vector from b to a as its gradient, and its opposite."""
    apart = pair[0] - pair[1]
    length = np.linalg.norm(apart, axis=1)
    value, grad_a, grad_b = value_and_gradients(distance, *tensors(pair))
    np.testing.assert_allclose(value, length, rtol=1e-12, atol=1e-150)
    far = length > 1e-100  # nearer, the square underflows, and both count as equal
    np.testing.assert_allclose(grad_a[far], apart[far] / length[far, None], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grad_b, -grad_a, rtol=0, atol=0)


@given(pairs(), st.floats(-50, 50))
@each_divergence
def test_zero_at_equal_predictions(divergence: Divergence, pair: Pair, shift: float) -> None:
    a, _ = tensors(pair)
    torch.testing.assert_close(divergence(a, a), torch.zeros(len(a), dtype=a.dtype), rtol=0, atol=0)
    torch.testing.assert_close(divergence(a, a + shift), torch.zeros(len(a), dtype=a.dtype), rtol=0, atol=1e-12)


@given(pairs(largest=300))
def test_bounds(pair: Pair) -> None:
    a, b = tensors(pair)
    squared = squared_half_angle(a, b)
    hellinger = np.square(np.sqrt(scipy_softmax(pair[0], axis=1)) - np.sqrt(scipy_softmax(pair[1], axis=1))).sum(1)
    assert (squared >= 0).all()
    assert (squared <= math.pi**2 / 4 + 1e-12).all()
    assert (squared_fisher_rao(a, b) <= math.pi**2 + 1e-12).all()
    assert (kl(a, b).numpy() >= hellinger - 1e-12).all()
    assert (squared.numpy() >= hellinger - 1e-12).all()


@given(pairs(largest=10), st.integers(0, 1000))
def test_fisher_rao_obeys_the_triangle_inequality(pair: Pair, seed: int) -> None:
    a, b = tensors(pair)
    c = 3 * seeded(*a.shape, seed=seed)
    direct, detour = squared_fisher_rao(a, b).sqrt(), squared_fisher_rao(a, c).sqrt() + squared_fisher_rao(c, b).sqrt()
    assert (direct <= detour + 1e-9).all()


@pytest.mark.parametrize("h", [1e-2, 1e-3, 1e-4])
def test_small_shift_fisher_rao_is_twice_kl(h: float) -> None:
    a = seeded(20, 10)
    b = a + h * seeded(20, 10, seed=1)
    torch.testing.assert_close(
        squared_fisher_rao(a, b) / kl(a, b), torch.full((20,), 2.0, dtype=a.dtype), rtol=5 * h, atol=0
    )


@pytest.mark.parametrize("h", [1e-2, 1e-4, 1e-6, 1e-8])
def test_small_shift_limit(h: float) -> None:
    """At z + h D the squared distance is h² Dᵀ G D and its gradient 2 h G D, with G = diag(p) - p pᵀ."""
    a, direction = seeded(20, 10), seeded(20, 10, seed=1)
    p = torch.softmax(a, 1)
    moved = p * direction - p * (p * direction).sum(1, keepdim=True)
    value, _, gradient = value_and_gradients(squared_fisher_rao, a, a + h * direction)
    error = 5 * h + 2e-7
    torch.testing.assert_close(value, h**2 * (direction * moved).sum(1), rtol=error, atol=0)
    torch.testing.assert_close(gradient, 2 * h * moved, rtol=0, atol=error * 2 * h)


@pytest.mark.parametrize("t", [1e-6, 0.5 * THRESHOLD, 0.999 * THRESHOLD, 1.001 * THRESHOLD, 2 * THRESHOLD, 0.1, 0.2])
@each_angle
def test_gradcheck_on_both_sides_of_the_threshold(angle: Divergence, t: float) -> None:
    a, b = (logits.requires_grad_() for logits in at_quarter_chord(t))
    assert torch.autograd.gradcheck(angle, (a, b), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("divergence", [*DIVERGENCES, distance])
def test_gradcheck_at_generic_points(divergence: Divergence) -> None:
    a, b = seeded(3, 5).requires_grad_(), seeded(3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(divergence, (a, b))


def test_gradcheck_of_cross_entropy() -> None:
    target = torch.softmax(seeded(3, 5, seed=1), 1)
    assert torch.autograd.gradcheck(lambda logits: cross_entropy(logits, target), (seeded(3, 5).requires_grad_(),))


@each_angle
def test_continuous_at_the_threshold(angle: Divergence) -> None:
    below = value_and_gradients(angle, *at_quarter_chord(THRESHOLD * (1 - 1e-13)))
    above = value_and_gradients(angle, *at_quarter_chord(THRESHOLD * (1 + 1e-13)))
    for left, right in zip(below, above, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=0)
