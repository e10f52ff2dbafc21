"""The difference of two methods over seeds and images: its interval, its extremes, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy.stats import t, ttest_ind, ttest_rel

from robench_fire.statistics.paired import (
    contrast,
    contrast_over_seeds,
    difference,
    holm,
    images_needed,
    mean,
    over_seeds,
    seeds_needed,
)


def drawn(seeds: int, images: int, skill: float, view: float, noise: float, number: int = 0) -> list[NDArray[Any]]:
    """Real-valued scores of two methods with known spreads: images shared, and a view of them of each method's own."""
    random = default_rng(number)
    shared = random.normal(50, 20, images)
    return [
        shared
        + random.normal(0, view, images)
        + random.normal(0, skill, (seeds, 1))
        + random.normal(0, noise, (seeds, images))
        for _ in range(2)
    ]


def test_with_one_seed_it_is_the_paired_t_test_over_images() -> None:
    one, other = (each[:1] for each in drawn(3, 40, 1, 2, 3))
    found, known = difference(one, other), ttest_rel(one[0], other[0])
    interval = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.seed_part is None


def test_where_images_do_not_matter_it_is_welchs_t_test_over_seeds() -> None:
    random = default_rng(1)
    one, other = (random.normal(50, spread, (seeds, 1)).repeat(30, 1) for spread, seeds in ((1, 5), (3, 3)))
    found, known = difference(one, other), ttest_ind(one[:, 0], other[:, 0], equal_var=False)
    assert found.image_part == 0
    assert found.p == pytest.approx(known.pvalue)
    assert found.df == pytest.approx(known.df)


def test_its_variance_is_the_one_that_the_data_were_drawn_with() -> None:
    seeds, images, skill, view, noise = 4, 60, 1.5, 8.0, 10.0
    found = [difference(*drawn(seeds, images, skill, view, noise, number)) for number in range(400)]
    variance = np.mean([each.seed_part + each.image_part for each in found])  # type: ignore[operator]
    truth = 2 * (skill**2 / seeds + view**2 / images + noise**2 / (seeds * images))
    assert variance == pytest.approx(truth, rel=0.06)
    assert np.var([each.value for each in found]) == pytest.approx(truth, rel=0.2)
    assert 0.93 < np.mean([each.low <= 0 <= each.high for each in found]) < 0.98


masks = st.tuples(st.integers(1, 5), st.integers(2, 30)).flatmap(lambda shape: arrays(bool, shape))


@given(masks, st.integers(2, 9))
def test_an_interval_holds_its_value_and_narrows_with_more_images(mask: NDArray[np.bool_], times: int) -> None:
    """The same images again and again: what is left of the variance is that between seeds.

    The interval itself narrows where only images vary. With seeds it need not: once only those vary its degrees of
    freedom are as few as they are.
    """
    scores = 100.0 * mask
    found, more = mean(scores), mean(np.tile(scores, times))
    for each in (found, more):
        assert each.low <= each.value <= each.high
        assert each.value == pytest.approx(scores.mean())
    variances = [(each.seed_part or 0.0) + each.image_part for each in (found, more)]
    assert variances[1] <= variances[0] * (1 + 1e-9) + 1e-9
    assert (more.seed_part or 0.0) == pytest.approx(found.seed_part or 0.0, abs=1e-9)
    if len(mask) == 1:
        assert more.half <= found.half
        assert more.half < found.half or not found.half


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8), st.integers(2, 5))
def test_an_interval_over_seeds_holds_its_value_and_narrows_with_more(values: list[float], times: int) -> None:
    found, more = (contrast_over_seeds((each,), (1.0,), 300) for each in (values, values * times))
    for each in (found, more):
        assert each.low <= each.value <= each.high
        assert each.value == pytest.approx(np.mean(values))
    assert more.half <= found.half


@given(masks, masks)
def test_a_difference_turns_with_the_order(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> None:
    images = min(one.shape[1], other.shape[1])
    pair = [100.0 * each[:, :images] for each in (one, other)]
    found, turned = difference(*pair), difference(*pair[::-1])
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(pair[0].mean() - pair[1].mean(), abs=1e-9)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert turned.p == pytest.approx(found.p)
    assert 0 <= found.p <= 1


def test_two_equal_methods_differ_by_nothing() -> None:
    same = np.full((3, 10), 100.0)
    found = difference(same, same)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_methods_that_never_vary_differ_for_certain() -> None:
    found = difference(np.full((3, 10), 100.0), np.zeros((3, 10)))
    assert (found.value, found.low, found.high, found.p) == (100, 100, 100, 0)


@pytest.mark.parametrize("shapes", [((2, 10), (2, 11)), ((10,), (10,)), ((2, 1), (2, 1))])
def test_other_images_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"expected \(seeds, images\) of the same images"):
        difference(*(np.zeros(shape) for shape in shapes))


def test_over_seeds_alone_it_is_welchs() -> None:
    one, other = [50.0, 52.0, 51.0], [49.0, 46.0]
    found, known = over_seeds(one, other, 300), ttest_ind(one, other, equal_var=False)
    assert found.p == pytest.approx(known.pvalue)
    with pytest.raises(ValueError, match="expected at least two of each"):
        over_seeds(one, [50.0], 300)


def test_holm() -> None:
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.02, 0.6]) == pytest.approx([1.0, 0.06, 1.0])


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_its_steps_reject(p_values: list[float], level: float) -> None:
    """From the smallest on, each against the level shared among those that are left, until one is not below it."""
    left, rejected = sorted(range(len(p_values)), key=lambda place: p_values[place]), set[int]()
    while left and p_values[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert {place for place, adjusted in enumerate(holm(p_values)) if adjusted <= level} == rejected


def test_so_many_seeds_settle_a_difference_4_times_of_5() -> None:
    """Of methods that lie 1.5 apart, whose spread is that of seeds: the number that it says shows it in 80 %."""
    found = difference(*[np.array([[49.0 + up], [50.0 + up], [51.0 + up]]).repeat(20, 1) for up in (1.5, 0.0)])
    needed = seeds_needed(found)
    assert needed is not None
    random, right = default_rng(2), 0
    for _ in range(2000):
        one, other = random.normal(1.5, 1, needed), random.normal(0, 1, needed)
        right += ttest_ind(one, other).pvalue < 0.05
    assert 0.77 < right / 2000 < 0.87


def test_images_that_are_too_few_are_not_made_up_for_by_seeds() -> None:
    one, other = drawn(5, 30, 0.1, 10, 1)
    found = difference(one, other)
    assert abs(found.value) < t.ppf(0.975, 29) * found.image_part**0.5
    assert seeds_needed(found) is None


def test_so_many_images_settle_a_difference_with_the_same_seeds() -> None:
    one, other = drawn(5, 300, 0.1, 10, 1)
    found = difference(one - one.mean() + other.mean() + 1, other)  # a point apart
    needed = images_needed(found, 100_000)
    assert needed is not None
    assert needed > 300
    variance = (found.seed_part or 0) - found.noise_part + (found.image_part + found.noise_part) * 300 / needed
    assert (t.ppf(0.975, found.df) + t.ppf(0.8, found.df)) * variance**0.5 <= abs(found.value)
    assert images_needed(found, 300) is None  # there are no more
    assert images_needed(found, needed // 2) is None
    assert (
        images_needed(found._replace(seed_part=found.value**2, noise_part=0.0), 10**6) is None
    )  # which no image makes up for


def test_the_mean_of_one_is_its_difference_from_nothing() -> None:
    one, _ = drawn(5, 300, 0.1, 10, 1)
    found = mean(one)
    assert found.value == pytest.approx(one.mean())
    assert found.seed_part == pytest.approx(one.mean(1).var(ddof=1) / 5)
    assert mean(one[:1]).seed_part is None


def test_a_contrast_is_the_same_sum_of_differences_and_covers_the_truth() -> None:
    """A slope over three methods of known spreads, whose truth is 0: the interval holds it 19 times of 20."""
    seeds, images, held = 4, 60, []
    for number in range(400):
        random = default_rng(number)
        shared = random.normal(50, 20, images)
        three = [
            shared
            + random.normal(0, 8, images)
            + random.normal(0, 1.5, (seeds, 1))
            + random.normal(0, 10, (seeds, images))
            for _ in range(3)
        ]
        found = contrast(three, (-0.5, 0.0, 0.5))
        assert found.value == pytest.approx(difference(three[2], three[0]).value / 2)
        held.append(found.low < 0 < found.high)
    assert 0.92 < np.mean(held) < 0.98


def test_beyond_moves_the_value_and_keeps_the_width() -> None:
    found = difference(*drawn(4, 50, 1, 2, 3))
    moved = found.beyond(found.value)
    assert (moved.value, moved.p) == (0, 1)
    assert moved.half == pytest.approx(found.half)
    assert found.beyond(found.low).p == pytest.approx(0.05)
    assert found.beyond(0.0) == found


def test_a_contrast_of_scores_per_seed_is_welchs_for_two() -> None:
    one, other = [50.0, 51.0, 53.0], [49.0, 48.5, 50.0, 47.0]
    assert contrast_over_seeds((one, other), (1, -1), 300) == over_seeds(one, other, 300)
    with pytest.raises(ValueError, match="expected at least two of each"):
        contrast_over_seeds((one, other, [50.0]), (1, -0.5, -0.5), 300)
