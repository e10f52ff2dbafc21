"""What is known of the mean of a finite population after each draw from it, whenever one chooses to stop.

A confidence sequence: with 95 % chance it holds the mean after every draw at once, so that one may look after each and
stop for any reason. It is the hedged capital process for sampling without replacement of Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", Journal of the Royal Statistical Society B 86 (2024) 1-27
(arXiv 2010.09686), section "Betting while sampling without replacement".

A gambler who believes that the mean is more than m bets on each draw x, in [0, 1], against what the rest of the
population would have to average, m_t = (N m - what was drawn) / (N - t + 1). Capital 1 becomes

    K_t(m) = prod_i (1 + b_i (x_i - m_i)),

which is a non-negative martingale if m is the mean, for any b_i <= 1 / m_i that follow from earlier draws; by Ville's
inequality it ever reaches 2 / alpha with chance alpha / 2 at most. What it has reached that at is left out: the lower
bound. The upper one is the same of 1 - x. The bets are ours: capital is spread evenly over gamblers who each bet what
is best if the answer came after some share of the population, in place of the paper's single one; a mean of such
processes is one. benchmarks/sequential.py shows what that gains, and how often the truth is left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
SHARES = (1 / 32, 1 / 8, 1 / 2, 2)
"""When each gambler expects the answer: n / (1 - n / N), in units of the population N."""
BOLDEST = 0.75
"""The largest share of its capital that a gambler may lose in one draw."""
HALVINGS = 24
"""Of the range in which a bound is looked for: to 1e-5 points."""


def left_out(differences: NDArray[Any], population: int, value: float) -> NDArray[np.bool_]:
    """(n,) whether ``value`` is no longer in the sequence after each of the ``differences`` (n,).

    All are in points, from -100 to 100. The differences are drawn at random without replacement from ``population``
    many, whose mean the sequence is of.

    Raises:
        ValueError: if there are more differences than the population has, or one lies outside the range.
    """
    draws, mean = _scaled(differences, population), (value / 100 + 1) / 2
    found: NDArray[np.bool_] = _won(draws, population, mean) | _won(1 - draws, population, 1 - mean)
    return found


def interval(differences: NDArray[Any], population: int) -> tuple[float, float]:
    """The lowest and highest mean that is still in the sequence after all ``differences`` (n,), see left_out.

    Of the whole population, its mean twice. Should nothing be left, which has at most the chance of an error, both
    are the point between the bounds.

    Raises:
        ValueError: as left_out.
    """
    draws = _scaled(differences, population)
    low, high = _lowest(draws, population), 1 - _lowest(1 - draws, population)
    low, high = (low, high) if low <= high else ((low + high) / 2,) * 2
    return 100 * (2 * low - 1), 100 * (2 * high - 1)


def _scaled(differences: NDArray[Any], population: int) -> NDArray[Any]:
    """As draws in [0, 1]."""
    found = np.asarray(differences, float)
    if found.ndim != 1 or len(found) > population or not (np.abs(found) <= 100).all():
        raise ValueError(f"expected at most {population} differences from -100 to 100 points")
    return (found / 100 + 1) / 2


def _lowest(draws: NDArray[Any], population: int) -> float:
    """A mean that is left out, or cannot be, right below the first that is not; capital falls as the mean rises."""
    low = draws.sum() / population  # if the rest were all 0
    high = low + (population - len(draws)) / population
    for _ in range(HALVINGS if len(draws) < population else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if _won(draws, population, middle)[-1:].any() else (low, middle)
    return float(low)


def _won(draws: NDArray[Any], population: int, mean: float) -> NDArray[np.bool_]:
    """(n,) whether the gamblers against a mean as low as ``mean`` have ever had enough."""
    before = np.concatenate([[0.0], np.cumsum(draws)])
    left = population - np.arange(len(draws))
    rest = (population * mean - before[:-1]) / left  # what the others average
    impossible = before[1:] > population * mean + 1e-9
    with np.errstate(divide="ignore"):
        most = BOLDEST / np.maximum(rest, 0)
    goal = math.log(2 / (1 - LEVEL))
    best = np.sqrt(2 * goal / (_variances(draws) * population)) * population / left
    bets = np.minimum(best / np.sqrt(np.array(SHARES))[:, None], most)
    factors = np.where(rest > 0, 1 + bets * (draws - rest), 1.0)
    capital = np.logaddexp.reduce(np.cumsum(np.log(factors), axis=1), axis=0) - math.log(len(SHARES))
    found: NDArray[np.bool_] = np.logical_or.accumulate(impossible | (capital >= goal))
    return found


def _variances(draws: NDArray[Any]) -> NDArray[Any]:
    """(n,) an estimate of the draws' variance before each of them; one draw of variance 1/4 is imagined."""
    counts = np.arange(1, len(draws) + 1)
    means = (0.5 + np.cumsum(draws)) / (counts + 1)
    after = (0.25 + np.cumsum((draws - means) ** 2)) / (counts + 1)
    return np.concatenate([[0.25], after])[:-1]
