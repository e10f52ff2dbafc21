"""Section 4 of the FIRE paper: closed forms against Monte Carlo, its bounds, and the minima of the risks."""

from __future__ import annotations

import numpy as np
import pytest

from robench_fire.theory import distances, gaussian, manifold
from robench_fire.theory.gaussian import PAPERS, covered, curve, directions, solutions


@pytest.fixture(scope="module")
def whole() -> gaussian.Curve:
    return curve(points=4001)


@pytest.mark.parametrize("alpha", [0.3, 1.815, 2.069, 2.782, 4.0])
@pytest.mark.parametrize("length", [0.01, 1.0, 30.0])
def test_equations_20_and_21_are_what_samples_show(alpha: float, length: float) -> None:
    """The attacked sample, x - eps y theta / |theta|, classified as it is; 200,000 of them, so 4 standard errors."""
    theta = length * directions(np.array(alpha))
    x, y = PAPERS.drawn(100_000, 1)
    attacked = x - PAPERS.eps * y[:, None] * theta / np.linalg.norm(theta)
    natural, adversarial = PAPERS.accuracies(theta)
    for points, expected in ((x, natural), (attacked, adversarial)):
        assert (np.sign(points @ theta) == y).mean() == pytest.approx(float(expected), abs=4 * 0.5 / 200_000**0.5)


def test_no_other_point_of_the_ball_does_more(whole: gaussian.Curve) -> None:
    """Equation 19: of a linear classifier, the step along theta is the worst of all directions of that length."""
    theta = directions(np.array(1.9))
    around = PAPERS.eps * directions(np.linspace(0, 2 * np.pi, 721))
    x, y = PAPERS.drawn(50, 2)
    margins = y[:, None] * ((x[:, None] + around) @ theta)
    worst = y * ((x - PAPERS.eps * y[:, None] * theta) @ theta)
    assert (worst <= margins.min(1) + 1e-12).all()


def test_proposition_2_bounds_and_where_they_are_tight(whole: gaussian.Curve) -> None:
    lowest, highest = PAPERS.bounds(whole.natural)
    assert (whole.adversarial >= lowest - 1e-12).all()
    assert (whole.adversarial <= highest + 1e-12).all()
    round_ = gaussian.Model(gaussian.MU, 0.01 * np.eye(2), 0.1)
    natural, adversarial = round_.accuracies(directions(np.linspace(0, 6, 50)))
    for bound in round_.bounds(natural):
        np.testing.assert_allclose(bound, adversarial, rtol=1e-9)


def test_the_extreme_points_are_the_papers() -> None:
    found = curve()
    alpha, natural, adversarial = found.at(int(found.natural.argmax()))
    best = np.linalg.solve(gaussian.SIGMA, gaussian.MU)  # the paper's closed form of it
    assert alpha == pytest.approx(np.arctan2(best[1], best[0]), abs=1e-3)
    assert alpha == pytest.approx(gaussian.PAPER["alpha_nat"], abs=2e-3)
    assert (natural, adversarial) == pytest.approx(gaussian.PAPER["accuracy_nat"], abs=5e-4)
    alpha, natural, adversarial = found.at(int(found.adversarial.argmax()))
    assert alpha == pytest.approx(gaussian.PAPER["alpha_adv"], abs=2e-3)
    assert (natural, adversarial) == pytest.approx(gaussian.PAPER["accuracy_adv"], abs=1e-3)
    assert found.maa == pytest.approx((2.069, 0.4901), abs=1e-3)


def test_pareto_optimal_points_are_those_that_none_beats(whole: gaussian.Curve) -> None:
    pairs = np.stack([whole.natural, whole.adversarial], 1)
    beaten = [((pairs >= own).all(1) & (pairs > own).any(1)).any() for own in pairs[::10]]
    np.testing.assert_array_equal(whole.pareto[::10], ~np.array(beaten))


@pytest.mark.parametrize("method", list(distances.REGULARISERS))
def test_solutions_are_minima_and_turn_with_lam(method: str, whole: gaussian.Curve) -> None:
    found = solutions(method, (0.0, 1.0, 100.0), count=2000)
    assert all(each.converged for each in found)
    assert found[0].alpha < found[1].alpha < found[2].alpha
    assert found[0].norm > found[1].norm > found[2].norm
    assert all(found[0].natural >= each.natural - 0.005 for each in found)
    share = covered(found, whole)
    assert 0.1 < share.share < 0.4
    assert share.farthest == found[2].alpha


def test_without_regularisation_all_risks_are_one() -> None:
    assert len({solutions(method, (0.0,), count=500)[0] for method in distances.REGULARISERS}) == 1


def test_a_strong_penalty_ends_in_the_direction_of_mu() -> None:
    """As theta shrinks, cross-entropy is its linear part and every regulariser c |theta|²: theta is along mu."""
    ends = [solutions(method, (1e4,), count=100_000, seed=3)[0].alpha for method in distances.REGULARISERS]
    assert ends == pytest.approx([float(np.arctan2(gaussian.MU[1], gaussian.MU[0]))] * 3, abs=0.02)


def test_the_manifold_is_the_logistic_models() -> None:
    theta = manifold.models()
    assert np.linalg.norm(theta["natural"]) == pytest.approx(np.linalg.norm(theta["robust"]))
    natural = manifold.probabilities(theta)[0]
    assert natural.value.shape == natural.x.shape[1:]
    middle = manifold.SIDE // 2
    assert natural.value[middle, middle] == pytest.approx(0.5)
    assert manifold.distances(theta)[0].value[middle, middle] == 0
    lengths = [np.linalg.norm(each) for each in manifold.regularised().values()]
    assert lengths == sorted(lengths, reverse=True)
