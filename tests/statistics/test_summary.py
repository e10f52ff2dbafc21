"""Mean and spread over seeds."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind_from_stats

from robench_fire.statistics.summary import MeanStd, mean_std, more, noticeable, tied, wilson

accuracies = st.lists(st.floats(0, 100), min_size=2, max_size=20)
of_1000_images = st.lists(st.integers(0, 1000).map(lambda count: count / 10), min_size=1, max_size=10)


@given(accuracies)
def test_agrees_with_statistics_and_numpy(values: list[float]) -> None:
    summary = mean_std(values)
    assert summary.n == len(values)
    assert summary.mean == pytest.approx(statistics.mean(values))
    assert summary.std == pytest.approx(statistics.stdev(values))
    assert summary.mean == pytest.approx(float(np.mean(values)))
    assert summary.std == pytest.approx(float(np.std(values, ddof=1)), abs=1e-9)


@given(accuracies)
def test_order_does_not_matter(values: list[float]) -> None:
    assert mean_std(values) == mean_std(values[::-1])


def test_one_value_has_no_spread() -> None:
    assert mean_std([85.98]) == MeanStd(85.98, None, 1)
    assert f"{mean_std([85.98])}" == "85.98"


def test_equal_values_have_zero_spread() -> None:
    assert mean_std([0.1, 0.1, 0.1]).std == 0


@pytest.mark.parametrize(
    ("values", "spec", "text"),
    [
        ([95.0, 95.5, 96.0], "", "95.50 ± 0.50"),
        ([95.0, 95.5, 96.0], ".1f", "95.5 ± 0.5"),
        ([95.0, 95.5, 96.0], ".3f", "95.500 ± 0.500"),
        ([51.45], ".1f", "51.5"),
        ([50, 52], "", "51.00 ± 1.41"),
    ],
)
def test_format(values: list[float], spec: str, text: str) -> None:
    assert format(mean_std(values), spec) == text


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf], [-math.inf, 2.0]])
def test_refuses_nothing_and_what_is_not_finite(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one finite value"):
        mean_std(values)


def test_wilsons_interval() -> None:
    z, count, total = 1.959964, 171, 300
    share, square = count / total, z * z / total
    middle, half = (share + square / 2) / (1 + square), z * (share * (1 - share) / total + square / (4 * total)) ** 0.5
    expected = [100 * (middle - half / (1 + square)), 100 * (middle + half / (1 + square))]
    assert wilson(count, total) == pytest.approx(expected, abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 100


@given(st.integers(1, 2000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))), st.integers(2, 50))
def test_wilsons_interval_holds_the_share_and_narrows_with_more_images(found: tuple[int, int], times: int) -> None:
    count, total = found
    low, high = wilson(count, total)
    assert 0 <= low <= 100 * count / total * (1 + 1e-12)
    assert 100 * count / total * (1 - 1e-12) <= high <= 100
    nearer = wilson(times * count, times * total)
    assert low <= nearer[0] + 1e-9 < nearer[1] <= high + 1e-9
    assert nearer[1] - nearer[0] < high - low


def test_what_is_noticeable_and_what_is_more() -> None:
    assert [noticeable(count, 300) for count in (2, 3)] == [False, True]
    assert [noticeable(count, 10_000) for count in (20, 21)] == [False, True]
    assert [more(*pair) for pair in ((0, 0), (6, 0), (7, 0), (12, 10), (30, 10))] == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([50, 51, 52], [50, 51, 52], True),
        ([50, 51, 52], [50.9, 51.0, 51.1], True),
        ([50, 51, 52], [51, 52, 53], True),
        ([50, 51, 52], [60, 61, 62], False),
        ([49.9, 50.0, 50.1], [50.9, 51.0, 51.1], False),
        ([40, 50, 60], [50.9, 51.0, 51.1], True),
        ([51.0], [51.0], True),
        ([51.0], [51.004], True),
        ([51.0], [51.006], False),
        ([51.0], [40, 51, 62], True),
        ([51.1], [40, 51, 62], False),
        ([51, 51, 51], [51, 51, 51], True),
        ([51, 51, 51], [51.01, 51.01], False),
        ([51, 51, 51], [40, 51, 62], True),
        ([51.1, 51.1, 51.1], [40, 51, 62], True),
        ([90, 90, 90], [40, 51, 62], False),
    ],
)
def test_what_is_within_the_noise_between_seeds(one: list[float], other: list[float], same: bool) -> None:
    """Where a spread is not known, or both are zero, only what is printed the same is the same."""
    assert tied(mean_std(one), mean_std(other)) is tied(mean_std(other), mean_std(one)) is same


@pytest.mark.parametrize(("apart", "same"), [(2.30, True), (2.31, False)])
def test_the_noise_is_that_of_welchs_test_at_5_percent(apart: float, same: bool) -> None:
    """Five seeds each with a standard deviation of sqrt(2.5): t = apart with 8 degrees of freedom, and 2.306 is 5 %."""
    values = [48.0, 49.0, 50.0, 51.0, 52.0]
    assert tied(mean_std(values), mean_std([value + apart for value in values])) is same


def test_welchs_test_weighs_each_spread_by_its_own_seeds() -> None:
    """t = 2 with 3 degrees of freedom, where a test with one spread for both would see more than 100."""
    wide, tight = MeanStd(50.0, 4.0, 4), MeanStd(54.0, 0.1, 100)
    assert tied(wide, tight)
    assert not tied(wide._replace(n=100), tight)


@given(of_1000_images, of_1000_images)
def test_a_tie_is_mutual_and_everything_ties_with_itself(one: list[float], other: list[float]) -> None:
    first, second = mean_std(one), mean_std(other)
    assert tied(first, second) == tied(second, first)
    assert tied(first, first)


spreads = st.sampled_from([0.0, 1e-200, 1e-14]) | st.floats(1e-3, 20)


@given(spreads, st.floats(1e-3, 20), st.integers(2, 10), st.integers(2, 10), st.floats(-10, 10))
def test_the_noise_is_as_scipy_tells_it(one: float, other: float, n: int, m: int, apart: float) -> None:
    """Whose module of tests takes longer to import than a table to print."""
    pvalue = ttest_ind_from_stats(50.0, one, n, 50.0 + apart, other, m, equal_var=False).pvalue
    if abs(pvalue - 0.05) > 1e-9:
        assert tied(MeanStd(50.0, one, n), MeanStd(50.0 + apart, other, m)) is bool(pvalue >= 0.05)
