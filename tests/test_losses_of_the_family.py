"""The Jensen-Shannon divergence, total variation and the weighted MSE against their equations and neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from divergences import ADV, CLEAN, Pair, generic, pairs, seeded, tensors, value_and_gradients
from hypothesis import given
from scipy.special import rel_entr
from scipy.special import softmax as scipy_softmax

from robench_fire.losses import jensen_shannon, kl, squared_hellinger, total_variation, weighted_mse


@generic
@given(pairs(largest=10))
def test_jensen_shannon_restated(pair: Pair) -> None:
    """Half of KL(p‖m) and half of KL(q‖m), with the gradients ½ p (log p/m - KL(p‖m)) and ½ q (log q/m - KL(q‖m))."""
    p, q = (scipy_softmax(logits, axis=1) for logits in pair)
    m = (p + q) / 2
    to_p, to_q = (rel_entr(each, m).sum(1, keepdims=True) for each in (p, q))
    value, grad_a, grad_b = value_and_gradients(jensen_shannon, *tensors(pair))
    np.testing.assert_allclose(value, (to_p + to_q)[:, 0] / 2, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(grad_a, p * (np.log(p / m) - to_p) / 2, atol=1e-13)
    np.testing.assert_allclose(grad_b, q * (np.log(q / m) - to_q) / 2, atol=1e-13)


@generic
@given(pairs(largest=10))
def test_total_variation_restated(pair: Pair) -> None:
    p, q = (scipy_softmax(logits, axis=1) for logits in pair)
    signs = np.sign(p - q)
    value, grad_a, grad_b = value_and_gradients(total_variation, *tensors(pair))
    np.testing.assert_allclose(value, np.maximum(p - q, 0).sum(1), atol=1e-14)
    far = (np.abs(pair[0] - pair[1]) > 1e-9).all(1)  # where no two are equal but for rounding
    for found, own, sign in ((grad_a, p, signs), (grad_b, q, -signs)):
        slope = own * (sign - (own * sign).sum(1, keepdims=True)) / 2
        np.testing.assert_allclose(found[far], slope[far], atol=1e-13)


@generic
@given(pairs())
def test_distances_of_probabilities_bound_each_other(pair: Pair) -> None:
    """Pinsker for KL and for JS, JS <= TV log 2, TV² <= H²; all between 0 and their largest value."""
    a, b = tensors(pair)
    shannon, variation = jensen_shannon(a, b), total_variation(a, b)
    for small, large in (
        (0 * shannon, shannon), (shannon, variation * math.log(2)), (variation, torch.ones_like(variation)),
        (2 * variation.square(), kl(a, b)), (variation.square() / 2, shannon),
        (variation.square(), squared_hellinger(a, b)),
    ):  # fmt: skip
        assert (small <= large + 1e-12).all()


def test_jensen_shannon_and_total_variation_are_symmetric() -> None:
    for symmetric in (jensen_shannon, total_variation):
        torch.testing.assert_close(symmetric(CLEAN, ADV), symmetric(ADV, CLEAN), rtol=0, atol=1e-15)


@pytest.mark.parametrize("h", [1e-1, 1e-3, 1e-6, 1e-9])
def test_small_shift_jensen_shannon_is_a_quarter_of_kl(h: float) -> None:
    """Without cancellation: of the second order, h² / 8 of Fisher's quadratic form, it keeps every digit."""
    a, direction = seeded(20, 10), seeded(20, 10, seed=1)
    p = torch.softmax(a, 1)
    fisher = (p * direction.square()).sum(1) - (p * direction).sum(1).square()
    found = jensen_shannon(a, a + h * direction) / h**2
    torch.testing.assert_close(found, fisher / 8, rtol=5 * h + 1e-6 * (h < 1e-8) + 1e-12 / h, atol=0)


@generic
@given(pairs(largest=10))
def test_weighted_mse_restated(pair: Pair) -> None:
    """A quarter of the sum over all pairs of classes, with the gradient Σ_k w_j w_k (Δ_jk of a - Δ_jk of b)."""
    (a, b), weight = pair, scipy_softmax(pair[0] / 3 + 1, axis=1)
    apart = (a[:, :, None] - a[:, None]) - (b[:, :, None] - b[:, None])
    pairs_of = weight[:, :, None] * weight[:, None]
    value, grad_a, grad_b = value_and_gradients(
        lambda x, y: weighted_mse(x, y, torch.from_numpy(weight)), *tensors(pair)
    )
    np.testing.assert_allclose(value, (pairs_of * apart**2).sum((1, 2)) / 4, atol=1e-11)
    np.testing.assert_allclose(grad_a, (pairs_of * apart).sum(2), atol=1e-11)
    np.testing.assert_allclose(grad_b, -grad_a, atol=1e-12)
