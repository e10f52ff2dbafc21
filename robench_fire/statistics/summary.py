"""Mean and spread over training seeds; accuracy over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple


def percent(mask: Any) -> float:
    """Accuracy in percent of a mask of booleans, an array or a tensor."""
    return 100 * int(mask.sum()) / len(mask)


def wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval, in percent, of ``count`` of ``total`` images."""
    from scipy.stats import binomtest  # here, because it takes a moment to import

    found = binomtest(count, total).proportion_ci(method="wilson")
    return 100 * float(found.low), 100 * float(found.high)


def noticeable(count: int, images: int) -> bool:
    """More than AutoAttack's threshold for a flag, 0.2 % of the images, and more than two."""
    return count > max(0.002 * images, 2)


def above_chance(accuracy: float, num_classes: int) -> bool:
    """Whether an accuracy in percent is twice that of guessing, or ten points above it."""
    return accuracy >= min(200, 100 + 10 * num_classes) / num_classes


def more(many: int, few: int) -> bool:
    """Whether ``many`` is larger than ``few`` beyond noise: a one-sided sign test at 1 %."""
    from scipy.stats import binomtest  # here, because it takes a moment to import

    return bool(many + few) and bool(binomtest(many, many + few, alternative="greater").pvalue < 0.01)


class MeanStd(NamedTuple):
    """Mean and sample standard deviation (n - 1) over ``n`` seeds; ``std`` is None for a single seed."""

    mean: float
    std: float | None
    n: int

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        return format(self.mean, spec) + ("" if self.std is None else f" ± {format(self.std, spec)}")


def tied(one: MeanStd, other: MeanStd) -> bool:
    """Whether two means are the same within the noise between seeds: Welch's t-test at 5 %, two-sided.

    Where the spread of one is not known, or both have none, whether they are the same as they are printed.
    """
    if one.std is None or other.std is None or not (one.std or other.std):
        return format(one.mean, ".2f") == format(other.mean, ".2f")
    from scipy.special import stdtr  # scipy.stats has the whole test, and takes half a second to import

    mine, its = one.std / math.sqrt(one.n), other.std / math.sqrt(other.n)
    error = math.hypot(mine, its)
    freedom = 1 / ((mine / error) ** 4 / (one.n - 1) + (its / error) ** 4 / (other.n - 1))
    return bool(2 * stdtr(freedom, -abs(one.mean - other.mean) / error) >= 0.05)


def mean_std(values: Sequence[float]) -> MeanStd:
    """Summarise one value per seed.

    Raises:
        ValueError: if there is no value, or one is not finite.
    """
    if not values or not all(math.isfinite(v) for v in values):
        raise ValueError(f"expected at least one finite value, got {list(values)}")
    return MeanStd(fmean(values), stdev(values) if len(values) > 1 else None, len(values))
