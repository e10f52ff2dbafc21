"""The 95 % interval of one row's accuracy."""

from __future__ import annotations

from typing import NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.comparison.scores import Metric, per_seed, scores
from robench_fire.statistics.paired import contrast_over_seeds, mean
from robench_fire.statistics.summary import wilson


class Interval(NamedTuple):
    """In percent. ``over``: what varies in it, "seeds and images", "images" or "seeds"."""

    value: float
    low: float
    high: float
    over: str

    @property
    def half(self) -> float:
        """How far it reaches from the value, on its longer side."""
        return max(self.high - self.value, self.value - self.low)


def interval(row: Row, metric: Metric) -> Interval | None:
    """Over seeds and images where the row has its masks; None where nothing says how far it varies.

    A single seed's is over images alone, a row's without masks over seeds alone. Where all seeds agree on all images
    (0 % or 100 %), it is Wilson's over images.

    Raises:
        DataError: if a mask is broken.
    """
    matrix, values = scores(row, metric), per_seed(row, metric)
    several = len(values) > 1
    over = "seeds" if matrix is None else "seeds and images" if several else "images"
    if matrix is not None or several:
        found = mean(matrix) if matrix is not None else contrast_over_seeds((values,), (1.0,), row.examples)
        if found.low < found.high:
            return Interval(found.value, max(found.low, 0.0), min(found.high, 100.0), over)
    if metric == "average":
        return None
    return Interval(values[0], *wilson(round(values[0] * row.examples / 100), row.examples), "images")
