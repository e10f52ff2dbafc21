"""Mean and spread over seeds."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robench_fire.stats import MeanStd, mean_std, more, noticeable, wilson

accuracies = st.lists(st.floats(0, 100), min_size=2, max_size=20)


@settings(deadline=None)
@given(accuracies)
def test_agrees_with_statistics_and_numpy(values: list[float]) -> None:
    summary = mean_std(values)
    assert summary.n == len(values)
    assert summary.mean == pytest.approx(statistics.mean(values))
    assert summary.std == pytest.approx(statistics.stdev(values))
    assert summary.mean == pytest.approx(float(np.mean(values)))
    assert summary.std == pytest.approx(float(np.std(values, ddof=1)), abs=1e-9)


@settings(deadline=None)
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


def test_what_is_noticeable_and_what_is_more() -> None:
    assert [noticeable(count, 300) for count in (2, 3)] == [False, True]
    assert [noticeable(count, 10_000) for count in (20, 21)] == [False, True]
    assert [more(*pair) for pair in ((0, 0), (6, 0), (7, 0), (12, 10), (30, 10))] == [False, False, True, False, True]
