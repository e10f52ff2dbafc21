"""What a row's seeds reached on each test image, as a matrix, and which rows a user means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from robench_fire.errors import DataError, UsageError, unknown
from robench_fire.quantity import same
from robench_fire.statistics.masks import unpacked
from robench_fire.tables.rows import Row

Metric = Literal["clean", "robust", "average"]
T = TypeVar("T")


def scores(row: Row, metric: Metric) -> NDArray[Any] | None:
    """(seeds, images) of 0 and 100; of the average, 50 as well; None where the row has no masks.

    Raises:
        DataError: if a mask is broken.
    """
    masks = row.facts.get("masks", {})
    if set(masks) != {str(seed) for seed in row.per_seed}:
        return None
    try:
        both = [
            [unpacked(masks[str(seed)][name], row.examples) for name in ("clean", "robust")]
            for seed in sorted(row.per_seed)
        ]
    except (KeyError, ValueError) as fault:
        raise DataError(f"{row.paper['method']}: {fault}; publish the row again") from None
    values = 100.0 * np.array(both, float)  # (seeds, 2, images)
    return values.mean(1) if metric == "average" else values[:, ("clean", "robust").index(metric)]


def chosen(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows that ``names`` are of: a defense, a method as its paper calls it, a key, or a plan's fingerprint.

    Raises:
        UsageError: for a name of no row, or of several.
    """
    return [_named(rows, name) for name in names]


def _named(rows: Sequence[Row], name: str) -> Row:
    return one_of([(names_of(row.plan, row.paper, row.fingerprint), row) for row in rows], name)


def names_of(plan: Mapping[str, Any], paper: Mapping[str, Any], fingerprint: str) -> tuple[str, ...]:
    """What a user may call a plan by: its defense first, its fingerprint last."""
    return str(plan["name"]), str(paper["method"]), str(paper["key"]), fingerprint


def one_of(known: Sequence[tuple[tuple[str, ...], T]], name: str) -> T:
    """What ``name`` is one of the names of.

    Raises:
        UsageError: for a name of nothing, or of several.
    """
    found = [each for each in known if _plain(name) in map(_plain, each[0])]
    if not found:
        raise UsageError(unknown("row", name, {names[0] for names, _ in known}))
    if len(found) > 1:
        plans = " or ".join(dict.fromkeys(names[-1] for names, _ in found))
        raise UsageError(f"{name} is {len(found)} rows here: name a folder with one of them, or its plan, {plans}")
    return found[0][1]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace("+", "_")


def check_comparable(one: Row, other: Row) -> None:
    """Refuse rows that were not attacked alike on the same images.

    Raises:
        UsageError: naming what differs, and both.
    """
    pairs: list[tuple[str, Any, Any]] = [
        ("data set", one.dataset, other.dataset),
        ("norm", one.norm, other.norm),
        ("attack", one.attack, other.attack),
        ("number of test images", one.examples, other.examples),
        ("evaluation seed", one.evaluation_seed, other.evaluation_seed),
    ]
    check_alike((one.paper["method"], other.paper["method"]), [*pairs, ("eps", one.eps, other.eps)])


def check_alike(names: tuple[str, str], pairs: Sequence[tuple[str, Any, Any]]) -> None:
    """Refuse what differs: (what, of the one, of the other), radii as texts.

    Raises:
        UsageError: naming the first, and both.
    """
    differing = [(what, *both) for what, *both in pairs if not (same(*both) if what == "eps" else both[0] == both[1])]
    if differing:
        what, mine, its = differing[0]
        raise UsageError(f"{names[0]} and {names[1]} cannot be compared: {what} {mine} of the one, {its} of the other")
