"""A comparative claim of a paper: the rows that it is about, and the estimate that decides it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.comparison.compare import measured
from robench_fire.comparison.scores import Metric, per_seed, scores
from robench_fire.errors import UsageError
from robench_fire.runs.filters import has
from robench_fire.statistics.paired import Difference, contrast, contrast_over_seeds, over_seeds

TOGETHER = ("device", "threads", "cores", "processes", "versions", "commit")
"""What trainings must share, so that their times compare."""
SHOWN = 0.05
FEWEST = 3  # values of a coefficient, so that a trend is one


class Which(NamedTuple):
    """A row that a claim is about, told by its plan: the method as it comes, with no coefficient by hand but these.

    ``methods``: names in papers, any of them. ``settings``: (path, value) of coefficients. ``data``: the kinds of
    extra_of that it may have, the first that is there. ``free``: coefficients that may be anything.
    """

    methods: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()
    data: tuple[str, ...] = ("",)
    free: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join([self.methods[0], *(f"{path.rpartition('.')[2]}={value}" for path, value in self.settings)])

    def among(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are meant."""
        kinds = ([row for row in rows if row.extra == kind and self._is(row)] for kind in self.data)
        return next((found for found in kinds if found), [])

    def _is(self, row: Row) -> bool:
        known = {*self.free, *(path for path, _ in self.settings)}
        by_hand = {path for path in row.facts["by_hand"] if path.startswith("defense.")}
        own = row.paper["method"] in self.methods and not row.plan["code"] and by_hand <= known
        return own and all(has(row.plan, path, value) for path, value in self.settings)


class Claim(NamedTuple):
    """What a paper says of methods, and where the true value lies if it holds: between ``low`` and ``high``.

    ``test``: "difference" of the first row and the second, in points; "ratio" of their training times; "slope" over
    all rows of the first, in points per doubling of what ``order`` reads from a row, where no two may go the other way.
    ``source``: section or table. ``says``: the claim in our words. ``published``: the figures that it rests on.
    """

    name: str
    source: str
    says: str
    published: str
    rows: tuple[Which, ...]
    test: Literal["difference", "ratio", "slope"] = "difference"
    metric: Metric = "average"
    low: float = 0.0
    high: float = math.inf
    order: Callable[[Row], float] | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """``low`` and ``high`` in the unit of the estimate: logarithms, for a ratio."""
        if self.test != "ratio":
            return self.low, self.high
        return math.log(self.low) if self.low > 0 else -math.inf, math.log(self.high)


class Estimate(NamedTuple):
    """``found``: of a ratio, its logarithm. ``rows``: of a slope, in order. ``paired``: whether images were crossed."""

    found: Difference
    rows: tuple[Row, ...]
    paired: bool


def estimate(claim: Claim, rows: Sequence[Row]) -> Estimate:
    """What ``rows`` say of a claim; they are those that it is about, all of one setting.

    Raises:
        UsageError: if these rows cannot decide it, and why.
        DataError: if a mask is broken.
    """
    if claim.order is not None:
        return _slope(claim.order, claim.metric, rows)
    one, other = rows
    if claim.test == "ratio":
        return _ratio(one, other)
    found, paired = measured(one, other, claim.metric)
    return Estimate(found, (one, other), paired)


def against(claim: Claim, made: Estimate) -> Estimate | None:
    """Of a slope, the two rows that go most clearly the other way: a curve can turn, and still have a slope.

    Its rows are in order, its value is the second's less the first's. None where no two do, beyond chance among so
    many pairs (Bonferroni).
    """
    rising = claim.low == 0
    order = claim.order
    pairs = [pair for pair in combinations(made.rows, 2) if order(pair[0]) < order(pair[1])] if order else []
    found = [(measured(later, first, claim.metric), (first, later)) for first, later in pairs]
    turned = [Estimate(each._replace(p=min(each.p * len(pairs), 1.0)), rows, paired)
              for (each, paired), rows in found if (each.value < 0) == rising and each.value]  # fmt: skip
    worst = min(turned, key=lambda each: each.found.p, default=None)
    return worst if worst is not None and worst.found.p < SHOWN else None


def _ratio(one: Row, other: Row) -> Estimate:
    """Of the times of a training, as the difference of their logarithms over seeds."""
    unlike = [name for name in TOGETHER if len(one.settings(name) | other.settings(name)) > 1]
    if unlike:
        raise UsageError(f"{one.name} and {other.name} were not trained alike ({', '.join(unlike)}): "
                         "their times do not compare")  # fmt: skip
    times = [[values["train_seconds"] for values in row.per_seed.values()] for row in (one, other)]
    if min(map(len, times)) < 2 or min(map(min, times)) <= 0:
        raise UsageError(f"{one.name} and {other.name}: a ratio of times needs two seeds of each")
    logs = [[math.log(value) for value in each] for each in times]
    return Estimate(over_seeds(logs[0], logs[1], one.examples), (one, other), False)


def _slope(order: Callable[[Row], float], metric: Metric, rows: Sequence[Row]) -> Estimate:
    """Least squares through the rows' means over the binary logarithm of what orders them."""
    ordered = tuple(sorted((row for row in rows if order(row) > 0), key=lambda row: (order(row), row.fingerprint)))
    places = [math.log2(order(row)) for row in ordered]
    middle = sum(places) / len(places)
    spread = sum((each - middle) ** 2 for each in places)
    weights = [(each - middle) / spread for each in places]
    known = [scores(row, metric) for row in ordered]
    matrices = [each for each in known if each is not None]
    if len(matrices) == len(known):
        return Estimate(contrast(matrices, weights), ordered, True)
    values = [per_seed(row, metric) for row in ordered]
    if min(map(len, values)) < 2:
        raise UsageError("a row has a single seed and no masks: nothing says how far it varies")
    return Estimate(contrast_over_seeds(values, weights, ordered[0].examples), ordered, False)
