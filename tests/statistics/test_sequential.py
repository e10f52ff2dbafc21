"""The confidence sequence against its equation in a plain loop, and how often it leaves the truth out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from robench_fire.statistics.sequential import BOLDEST, SHARES, interval, left_out


def population(size: int, up: int, down: int, seed: int = 0) -> NDArray[Any]:
    """Differences of 100, -100 and 0 points, in random order."""
    values = np.zeros(size)
    values[:up], values[up : up + down] = 100, -100
    return np.random.default_rng(seed).permutation(values)


def gambled(draws: list[float], size: int, mean: float) -> float:
    """The highest capital of a gambler against a ``mean`` as low as that, draw by draw."""
    capital, drawn, highest = [1.0] * len(SHARES), 0.0, 1.0
    squares = 0.25
    centre = 0.5
    for t, x in enumerate(draws, 1):
        rest = (size * mean - drawn) / (size - t + 1)
        if drawn + x > size * mean + 1e-9:
            return math.inf
        for k, share in enumerate(SHARES):
            horizon, variance = share * size, squares / t
            bet = math.sqrt(2 * math.log(40) / (variance * horizon)) * size / (size - t + 1)
            if rest > 0:
                capital[k] *= 1 + min(bet, BOLDEST / rest) * (x - rest)
        drawn += x
        centre = (0.5 + drawn) / (t + 1)
        squares += (x - centre) ** 2
        highest = max(highest, sum(capital) / len(SHARES))
    return highest


@pytest.mark.parametrize("value", [-60.0, -12.0, -3.0, 0.0, 2.0, 5.0, 9.0, 30.0, 55.0])
def test_it_is_the_equation(value: float) -> None:
    values = population(80, 20, 12)
    draws, mean = [(each / 100 + 1) / 2 for each in values], (value / 100 + 1) / 2
    found = left_out(values, 80, value)
    for n in range(1, 81):
        low = gambled(draws[:n], 80, mean)
        high = gambled([1 - x for x in draws[:n]], 80, 1 - mean)
        assert found[n - 1] == (max(low, high) >= 40)


@pytest.mark.parametrize("n", [1, 10, 40, 79])
def test_the_interval_is_what_is_not_left_out(n: int) -> None:
    values = population(80, 20, 12)[:n]
    low, high = interval(values, 80)
    assert [left_out(values, 80, low + off)[-1] for off in (-1e-4, 1e-4)] == [True, False]
    assert [left_out(values, 80, high + off)[-1] for off in (-1e-4, 1e-4)] == [False, True]


@given(st.lists(st.sampled_from([-100.0, 0.0, 100.0]) | st.floats(-100, 100), min_size=1, max_size=12))
def test_it_only_narrows_and_ends_at_the_truth(values: list[float]) -> None:
    found = np.array([interval(np.array(values[:n]), len(values)) for n in range(len(values) + 1)])
    assert found[0] == pytest.approx([-100, 100])
    assert (found[:, 0] <= found[:, 1]).all()
    assert (np.diff(found[:, 0]) >= -3e-5).all()
    assert (np.diff(found[:, 1]) <= 3e-5).all()
    assert found[-1] == pytest.approx([np.mean(values)] * 2, abs=1e-4)


@pytest.mark.parametrize(("up", "down"), [(15, 15), (40, 20), (5, 0), (0, 0), (0, 60)])
def test_the_truth_leaves_it_seldom(up: int, down: int) -> None:
    """In 400 orders; 5 % of them would be 20, and 32 are three standard errors more."""
    gone = sum(left_out(population(100, up, down, seed), 100, up - down)[-1] for seed in range(400))
    assert gone <= 20
    if not up + down:
        assert gone == 0


def test_identical_methods_are_known_to_be_alike_only_in_the_end() -> None:
    assert interval(np.zeros(100), 100) == pytest.approx((0, 0))
    low, high = interval(np.zeros(60), 100)
    assert -30 < low < 0 < high < 30
    assert low == pytest.approx(-high)


@pytest.mark.parametrize("values", [np.zeros(5), np.array([101.0]), np.array([np.nan]), np.zeros((2, 2))])
def test_what_is_no_sample_is_refused(values: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="expected at most 4 differences from -100 to 100 points"):
        interval(values, 4)
