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
    """The first method's mean score less the second's, in percentage points.

    ``low``, ``high``: the 95 % interval. ``p``: two-sided, of no difference. ``df``: degrees of freedom. ``seed_part``,
    ``image_part``: their shares of the variance of the difference, (points)²; ``seed_part`` None for a single seed of
    either method, where the interval is over images alone. ``noise_part``: how much of ``seed_part`` is noise of single
    seeds on single images, which more images lessen too.
    """

    value: float
    low: float
    high: float
    p: float
    df: float
    seeds: tuple[int, int]
    images: int
    seed_part: float | None
    image_part: float
    noise_part: float = 0.0

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def difference(one: NDArray[Any], other: NDArray[Any]) -> Difference:
    """Compare two matrices of scores in percent, (seeds, images) each, over the same images in the same order.

    Raises:
        ValueError: if they are not of the same images, or of fewer than two.
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or one.shape[1] < 2:
        raise ValueError(f"scores of {one.shape} and {other.shape}: expected (seeds, images) of the same images")
    images, counts = one.shape[1], (len(one), len(other))
    per_image = one.mean(0) - other.mean(0)
    value = float(per_image.mean())
    over_images = float(per_image.var(ddof=1)) / images
    if min(counts) < 2:
        return _interval(value, None, over_images, images - 1.0, counts, images)
    parts = [float(each.mean(1).var(ddof=1)) / len(each) for each in (one, other)]
    over_seeds = float(sum(parts))
    # the variance over images of seeds' means holds each method's seed-by-image noise, as that over seeds does too
    twice = sum(_interaction(each) / each.size for each in (one, other))
    rest = max(over_images - twice, 0.0)
    below = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True)) + rest**2 / (images - 1)
    df = float((over_seeds + rest) ** 2 / below) if below > 0 else min(counts) - 1.0
    return _interval(value, over_seeds, rest, df, counts, images)._replace(noise_part=min(twice, over_seeds))


def mean(one: NDArray[Any]) -> Difference:
    """The mean of one matrix of scores in percent, with the interval that a difference from a known number has."""
    return difference(one, np.zeros((2, np.shape(one)[-1])))


def _interaction(scores: NDArray[Any]) -> float:
    """The mean square of what neither seed nor image explains."""
    rest = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    return float(np.square(rest).sum() / ((scores.shape[0] - 1) * (scores.shape[1] - 1)))


def _interval(
    value: float, seeds: float | None, rest: float, df: float, counts: tuple[int, int], images: int
) -> Difference:
    from scipy.stats import t  # here, because it takes a moment to import

    error = math.sqrt((seeds or 0.0) + rest)
    half = float(t.ppf((1 + LEVEL) / 2, df)) * error
    p = float(2 * t.sf(abs(value) / error, df)) if error > 0 else float(value == 0)
    return Difference(value, value - half, value + half, p, df, counts, images, seeds, rest)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment of several p values, which keeps the chance of any false alarm at the level of one."""
    from statsmodels.stats.multitest import multipletests  # here, because it takes a second to import

    return [float(each) for each in multipletests(p_values, method="holm")[1]] if p_values else []


def over_seeds(one: Sequence[float], other: Sequence[float], images: int) -> Difference:
    """Compare one score per seed, where it is not known on which images: Welch's interval, over seeds alone.

    Raises:
        ValueError: if either has fewer than two seeds.
    """
    values, counts = [np.asarray(each, float) for each in (one, other)], (len(one), len(other))
    if min(counts) < 2:
        raise ValueError(f"{counts} seeds: expected at least two of each")
    parts = [float(each.var(ddof=1)) / len(each) for each in values]
    below = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    df = sum(parts) ** 2 / below if below > 0 else min(counts) - 1.0
    return _interval(float(values[0].mean() - values[1].mean()), sum(parts), 0.0, df, counts, images)


def seeds_needed(found: Difference, most: int = 100) -> int | None:
    """How many seeds of each method would show a difference of this size, 4 times of 5, on these images.

    The smallest number whose standard error, with the spreads that were found, is so far below the difference; None if
    ``most`` would not do.
    """
    if found.seed_part is None or not found.value:
        return None
    now = 2 / (1 / found.seeds[0] + 1 / found.seeds[1])
    for count in range(max(2, min(found.seeds)), most + 1):
        if _shows(found.value, found.seed_part * now / count + found.image_part, 2 * (count - 1)):
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
