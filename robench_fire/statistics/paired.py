"""Whether two methods differ: seeds and test images both vary, and both methods were tested on the same images.

Each method is a matrix (seeds, images) of scores. Seeds are nested in the method (seed 0 of one has nothing to do with
seed 0 of another), images are crossed with it. This is the design of multi-reader multi-case studies with readers
nested within the test, and the interval is its marginal-mean analysis of variance with Satterthwaite's degrees of
freedom: Hillis, "A marginal-mean ANOVA approach for analyzing multireader multicase radiological imaging data",
Statistics in Medicine 33 (2014) 330-360. benchmarks/coverage.py checks its coverage on data with known truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


class Difference(NamedTuple):
    """The first method's mean score less the second's, in percentage points; or another weighted sum of methods' means.

    ``low``, ``high``: the 95 % interval. ``p``: two-sided, of no difference. ``df``: degrees of freedom. ``seed_part``,
    ``image_part``: their shares of the variance of the difference, (points)²; ``seed_part`` None for a single seed of
    one of the methods, where the interval is over images alone. ``noise_part``: how much of ``seed_part`` is noise of
    single seeds on single images, which more images lessen too.
    """

    value: float
    low: float
    high: float
    p: float
    df: float
    seeds: tuple[int, ...]
    images: int
    seed_part: float | None
    image_part: float
    noise_part: float = 0.0

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def beyond(self, bound: float) -> Difference:
        """The same less ``bound``: its p value is that of the true value lying there."""
        parts = self.seed_part, self.image_part
        moved = _interval(self.value - bound, *parts, self.df, self.seeds, self.images)
        return moved._replace(noise_part=self.noise_part)


def difference(one: NDArray[Any], other: NDArray[Any]) -> Difference:
    """Compare two matrices of scores in percent, (seeds, images) each, over the same images in the same order.

    Raises:
        ValueError: if they are not of the same images, or of fewer than two.
    """
    return contrast((one, other), (1.0, -1.0))


def contrast(methods: Sequence[NDArray[Any]], weights: Sequence[float]) -> Difference:
    """The weighted sum of the methods' means: the difference of two is that of 1 and -1.

    Raises:
        ValueError: if the matrices are not of the same images, or of fewer than two.
    """
    scores = [np.asarray(each, float) for each in methods]
    shapes = [each.shape for each in scores]
    if any(len(shape) != 2 or shape[1] != shapes[0][1] or shape[1] < 2 for shape in shapes):
        raise ValueError(f"scores of {' and '.join(map(str, shapes))}: expected (seeds, images) of the same images")
    images, counts = shapes[0][1], tuple(map(len, scores))
    pairs = list(zip(scores, weights, strict=True))
    per_image = sum(weight * each.mean(0) for each, weight in pairs)
    assert isinstance(per_image, np.ndarray)
    value = float(per_image.mean())
    over_images = float(per_image.var(ddof=1)) / images
    if min(counts) < 2:
        return _interval(value, None, over_images, images - 1.0, counts, images)
    parts = [weight**2 * float(each.mean(1).var(ddof=1)) / len(each) for each, weight in pairs]
    over_seeds = float(sum(parts))
    # the variance over images of seeds' means holds each method's seed-by-image noise, as that over seeds does too
    twice = sum(weight**2 * _interaction(each) / each.size for each, weight in pairs)
    rest = max(over_images - twice, 0.0)
    below = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True)) + rest**2 / (images - 1)
    df = float((over_seeds + rest) ** 2 / below) if below > 0 else min(counts) - 1.0
    return _interval(value, over_seeds, rest, df, counts, images)._replace(noise_part=min(twice, over_seeds))


def mean(one: NDArray[Any]) -> Difference:
    """The mean of one matrix of scores in percent, with the interval that a difference from a known number has."""
    return contrast((one,), (1.0,))


def _interaction(scores: NDArray[Any]) -> float:
    """The mean square of what neither seed nor image explains."""
    rest = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    return float(np.square(rest).sum() / ((scores.shape[0] - 1) * (scores.shape[1] - 1)))


def _interval(
    value: float, seeds: float | None, rest: float, df: float, counts: tuple[int, ...], images: int
) -> Difference:
    from scipy.stats import t  # here, because it takes a moment to import

    error = math.sqrt((seeds or 0.0) + rest)
    half = float(t.ppf((1 + LEVEL) / 2, df)) * error
    p = float(2 * t.sf(abs(value) / error, df)) if error > 0 else float(value == 0)
    return Difference(value, value - half, value + half, p, df, counts, images, seeds, rest)


def holm(p_values: Sequence[float]) -> list[float]:
    """Several p values, adjusted so that the chance of any false alarm is that of one.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979) 65-70.
    statsmodels has the same, and collects all of Python's garbage at every call, which takes longer than a table.
    """
    p = np.asarray(p_values, float)
    order, adjusted = np.argsort(p, kind="stable"), np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return [float(each) for each in adjusted]


def over_seeds(one: Sequence[float], other: Sequence[float], images: int) -> Difference:
    """Compare one score per seed, where it is not known on which images: Welch's interval, over seeds alone.

    Raises:
        ValueError: if either has fewer than two seeds.
    """
    return contrast_over_seeds((one, other), (1.0, -1.0), images)


def contrast_over_seeds(methods: Sequence[Sequence[float]], weights: Sequence[float], images: int) -> Difference:
    """``contrast`` of one score per seed, where it is not known on which images: over seeds alone, as Welch's.

    Raises:
        ValueError: if a method has fewer than two seeds.
    """
    counts = tuple(map(len, methods))
    if min(counts) < 2:
        raise ValueError(f"{counts} seeds: expected at least two of each")
    pairs = [(np.asarray(each, float), weight) for each, weight in zip(methods, weights, strict=True)]
    parts = [weight**2 * float(each.var(ddof=1)) / len(each) for each, weight in pairs]
    below = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    df = sum(parts) ** 2 / below if below > 0 else min(counts) - 1.0
    value = float(sum(weight * each.mean() for each, weight in pairs))
    return _interval(value, sum(parts), 0.0, df, counts, images)


def seeds_needed(found: Difference, most: int = 100) -> int | None:
    """How many seeds of each method would show a difference of this size, 4 times of 5, on these images.

    The smallest number whose standard error, with the spreads that were found, is small enough for a power of 80 % at
    the 5 % level; None if ``most`` would not do.
    """
    if found.seed_part is None or not found.value:
        return None
    now = len(found.seeds) / sum(1 / count for count in found.seeds)
    for count in range(max(2, *found.seeds, min(found.seeds) + 1), most + 1):
        if _shows(found.value, found.seed_part * now / count + found.image_part, len(found.seeds) * (count - 1)):
            return count
    return None


def images_needed(found: Difference, most: int) -> int | None:
    """How many test images would show a difference of this size, 4 times of 5, with these seeds; see seeds_needed.

    None if ``most``, those that there are, would not do.
    """
    fixed = (found.seed_part or 0.0) - found.noise_part
    for images in _rounded(found.images, most):
        part = (found.image_part + found.noise_part) * found.images / images
        if found.value and _shows(found.value, fixed + part, found.df):
            return images
    return None


def _rounded(above: int, most: int) -> list[int]:
    """Numbers up to ``most``, in steps of a tenth of a power of ten: nobody evaluates 3,217 images."""
    found = [int(f"{digit}{'0' * zeros}") for zeros in range(1, len(str(most))) for digit in range(10, 100)]
    return [*(number for number in sorted({*found}) if above < number < most), *([most] if most > above else [])]


def _shows(value: float, variance: float, df: float) -> bool:
    """Whether a test at 5 % finds a difference of this size 4 times of 5."""
    from scipy.stats import t  # here, because it takes a moment to import

    return bool((t.ppf((1 + LEVEL) / 2, df) + t.ppf(0.8, df)) * math.sqrt(variance) <= abs(value))
