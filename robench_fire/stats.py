"""Mean and spread over training seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple


class MeanStd(NamedTuple):
    """Mean and sample standard deviation (n - 1) over ``n`` seeds; ``std`` is None for a single seed."""

    mean: float
    std: float | None
    n: int

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        return format(self.mean, spec) + ("" if self.std is None else f" ± {format(self.std, spec)}")


def mean_std(values: Sequence[float]) -> MeanStd:
    """Summarise one value per seed.

    Raises:
        ValueError: if there is no value, or one is not finite.
    """
    if not values or not all(math.isfinite(v) for v in values):
        raise ValueError(f"expected at least one finite value, got {list(values)}")
    return MeanStd(fmean(values), stdev(values) if len(values) > 1 else None, len(values))
