"""Sweeps: what each point of a grid reached, and which one validation images choose. Plain values; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from robench_fire.boards.labels import short_path
from robench_fire.boards.rows import Row
from robench_fire.models.own import text
from robench_fire.problem.settings import said_value
from robench_fire.statistics.summary import MeanStd, mean_std

MEASURES = ("clean", "robust", "average")
"""What may select: accuracy on clean validation images, under the training attack, and the mean of both."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A defense with one setting of each axis.

    ``settings``: by path, the swept values of its plan. ``validation``: by seed, accuracies in percent, see
    Run.validation. ``failed``: by seed, why it was not trained or evaluated. ``row``: what it reached on the test
    images, where it was evaluated on them.
    """

    defense: str
    method: str
    fingerprint: str
    settings: dict[str, Any]
    validation: dict[int, dict[str, float]]
    failed: dict[int, str]
    row: Row | None = None
    selected: bool = False

    def over_seeds(self, measure: str) -> MeanStd | None:
        """One of MEASURES on the validation images; None where a seed lacks it."""
        found = [_measured(each, measure) for _, each in sorted(self.validation.items())]
        return mean_std([each for each in found if each is not None]) if found and None not in found else None


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Points in the order in which they were asked for.

    ``select``: one of MEASURES, or "" where nothing is selected. ``images``: how many there are for validation.
    ``notes``: what a reader must know of the axes.
    """

    dataset: str
    norm: str
    eps: str
    seeds: tuple[int, ...]
    select: str
    images: int
    points: tuple[Point, ...]
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """A short name for each axis; "lam/beta" where defenses call it differently."""
        paths = [list(dict.fromkeys(names)) for names in zip(*(each.settings for each in self.points), strict=True)]
        ends = Counter(path.rpartition(".")[2] for names in paths for path in names)
        return ["/".join(dict.fromkeys(short_path(path, ends) for path in names)) for names in paths]


def said_setting(value: Any) -> str:
    """A swept value in a table."""
    if isinstance(value, str) and (own := text.read(value)) and own.digest:
        return own.call
    return f"{value:.12g}" if isinstance(value, float) else said_value(value)


def selected(points: Sequence[Point], seeds: Sequence[int], measure: str) -> list[Point]:
    """The same points, of each defense the one with the best mean over seeds marked; of equal ones the first.

    A point without all of its seeds, as where one diverged, is not selected.
    """
    best: dict[str, tuple[float, int]] = {}
    for number, point in enumerate(points):
        mean = point.over_seeds(measure)
        if mean is None or set(point.validation) != set(seeds) or point.failed:
            continue
        if point.defense not in best or mean.mean > best[point.defense][0]:
            best[point.defense] = (mean.mean, number)
    chosen = {number for _, number in best.values()}
    return [replace(point, selected=number in chosen) for number, point in enumerate(points)]


def _measured(found: dict[str, float], measure: str) -> float | None:
    if measure == "average":
        return (found["clean"] + found["robust"]) / 2 if "robust" in found else None
    return found.get(measure)
