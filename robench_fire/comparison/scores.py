"""What a row's seeds reached on each test image, as a matrix, and which rows a user means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robench_fire.errors import DataError, UsageError, unknown
from robench_fire.quantity import same
from robench_fire.statistics.masks import unpacked
from robench_fire.tables.rows import Row

Metric = Literal["clean", "robust", "average"]


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
    found = [row for row in rows if _plain(name) in map(_plain, _names(row))]
    if not found:
        raise UsageError(unknown("row", name, {row.plan["name"] for row in rows}))
    if len(found) > 1:
        plans = " or ".join(dict.fromkeys(row.fingerprint for row in found))
        raise UsageError(f"{name} is {len(found)} rows here: name a folder with one of them, or its plan, {plans}")
    return found[0]


def _names(row: Row) -> tuple[str, ...]:
    return str(row.plan["name"]), str(row.paper["method"]), str(row.paper["key"]), row.fingerprint


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
    differing = [each for each in pairs if each[1] != each[2]]
    if not same(one.eps, other.eps):
        differing.append(("eps", one.eps, other.eps))
    if differing:
        what, mine, its = differing[0]
        names = one.paper["method"], other.paper["method"]
        raise UsageError(f"{names[0]} and {names[1]} cannot be compared: {what} {mine} of the one, {its} of the other")
