"""Section 3 of the FIRE paper, and its appendices, held against the losses that are trained with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robench_fire import losses
from robench_fire.theory import distances

H = np.array([-800.0, -30.0, -5.0, -1.0, -1e-6, 0.0, 0.3, 2.0, 17.0, 40.0, 900.0])
ONE, OTHER = (each.ravel() for each in np.meshgrid(H, H))
RNG = np.random.default_rng(0)
MODERATE = RNG.normal(0, 4, (2, 2000))


def logits(h: np.ndarray) -> torch.Tensor:
    """Of two classes, h apart."""
    return torch.tensor(np.stack([-h / 2, h / 2], 1))


def several(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of predictions of ten classes, from nearly equal to far apart."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(count, 10, generator=generator, dtype=torch.float64) * 3
    far = torch.logspace(-5, 1, count, dtype=torch.float64)[:, None]
    return z, z + far * torch.randn(count, 10, generator=generator, dtype=torch.float64)


def test_theorem_1_is_theorem_2_for_two_classes() -> None:
    """And of the other measures: two statements of each."""
    one, other = logits(ONE), logits(OTHER)
    pairs = [
        (distances.squared_fisher_rao, losses.squared_fisher_rao),
        (distances.squared_hellinger, losses.squared_hellinger),
        (distances.kl, losses.kl),
    ]
    for ours, trained in pairs:
        np.testing.assert_allclose(ours(ONE, OTHER), trained(one, other).numpy(), rtol=1e-9, atol=1e-13)


def test_proposition_1_the_distance_is_at_most_half_the_difference_of_logits() -> None:
    assert (distances.fisher_rao(ONE, OTHER) <= np.abs(ONE - OTHER) / 2 + 1e-15).all()
    near = distances.fisher_rao(np.zeros(1), np.array([1e-5]))
    assert near == pytest.approx(0.5e-5)  # and no less can be said: at h = 0 it is reached


def test_theorem_3_the_distance_is_bounded_by_kl() -> None:
    z, other = several()
    angle = losses.squared_fisher_rao(z, other).sqrt() / 2
    assert (1 - torch.cos(angle) <= losses.kl(z, other) / 2 + 1e-15).all()
    h, its = MODERATE
    assert (1 - np.cos(distances.fisher_rao(h, its) / 2) <= distances.kl(h, its) / 2 + 1e-15).all()


def test_equation_17_kl_is_half_the_squared_distance_up_to_third_order() -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(200, 10, generator=generator, dtype=torch.float64)
    direction = torch.randn(200, 10, generator=generator, dtype=torch.float64)
    rest = []
    for size in (1e-2, 1e-3):
        squared = losses.squared_fisher_rao(z, z + size * direction)
        rest.append((losses.kl(z, z + size * direction) - squared / 2).abs() / squared**1.5)
    assert (rest[0] < 1).all()
    assert (rest[1] < 1).all()  # bounded by the distance's third power, ten times nearer too


def test_theorem_4_hellinger_is_a_function_of_the_distance() -> None:
    z, other = several()
    expected = 2 * (1 - torch.cos(losses.squared_fisher_rao(z, other).sqrt() / 2))
    torch.testing.assert_close(losses.squared_hellinger(z, other), expected, rtol=1e-9, atol=1e-15)
    h, its = MODERATE
    np.testing.assert_allclose(
        distances.squared_hellinger(h, its), 2 * (1 - np.cos(distances.fisher_rao(h, its) / 2)), rtol=1e-9, atol=1e-15
    )


def test_distances_stay_in_their_range() -> None:
    ranges = {
        distances.fisher_rao: np.pi, distances.squared_hellinger: 2.0, distances.squared_euclidean: 2.0,
        distances.kl: np.inf,
    }  # fmt: skip
    for measure, top in ranges.items():
        found = measure(ONE, OTHER)
        assert np.isfinite(found).all()
        assert (found >= -1e-15).all()
        assert (found <= top * (1 + 1e-12)).all()
        np.testing.assert_array_equal(measure(H, H), np.zeros_like(H))


def test_equation_12_the_first_order_in_the_shift() -> None:
    """d is about |shift| / (2 cosh(h / 2)): the paper's approximation of logistic regression, per unit of theta."""
    h, shift = np.linspace(-6, 6, 25), 1e-5
    expected = shift / (2 * np.cosh(h / 2))
    np.testing.assert_allclose(distances.fisher_rao(h, h + shift), expected, rtol=1e-4)
