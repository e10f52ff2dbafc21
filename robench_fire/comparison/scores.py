"""What a row's seeds reached on each test image, as a matrix, and whether rows compare."""

from __future__ import annotations

from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robench_fire.boards.rows import Row
from robench_fire.errors import DataError, UsageError
from robench_fire.quantity import same
from robench_fire.statistics.masks import unpacked

Metric = Literal["clean", "robust", "average"]


def scores(row: Row, metric: Metric) -> NDArray[Any] | None:
    """(seeds, images) of 0 and 100; of the average, 50 as well; None without masks to compare images by.

    Raises:
        DataError: if a mask is broken.
    """
    if not has_masks(row):
        return None
    masks = row.facts["masks"]
    try:
        both = [
            [unpacked(masks[str(seed)][name], row.examples) for name in ("clean", "robust")]
            for seed in sorted(row.per_seed)
        ]
    except (KeyError, ValueError) as fault:
        raise DataError(f"{row.name}: {fault}; publish the row again") from None
    values = 100.0 * np.array(both, float)  # (seeds, 2, images)
    return values.mean(1) if metric == "average" else values[:, ("clean", "robust").index(metric)]


def has_masks(row: Row) -> bool:
    """Whether a row has the masks of all its seeds, of more images than one."""
    return row.examples > 1 and set(row.facts.get("masks", {})) == {str(seed) for seed in row.per_seed}


def varies(row: Row) -> bool:
    """Whether anything says how far a row varies: masks, or several seeds."""
    return len(row.per_seed) > 1 or has_masks(row)


def per_seed(row: Row, metric: Metric) -> list[float]:
    """The accuracy of each seed, in the order of the seeds."""
    names = ("clean", "robust") if metric == "average" else (metric,)
    return [fmean(each[name] for name in names) for _, each in sorted(row.per_seed.items())]


def check_comparable(one: Row, other: Row) -> None:
    """Refuse rows that were not attacked alike on the same images.

    Raises:
        UsageError: naming what differs, and both.
    """
    pairs: list[tuple[str, Any, Any]] = [
        ("data set", one.dataset, other.dataset),
        ("images", one.images, other.images),
        ("norm", one.norm, other.norm),
        ("attack", one.attack, other.attack),
        ("number of test images", one.examples, other.examples),
        ("evaluation seed", one.evaluation_seed, other.evaluation_seed),
    ]
    images = [", ".join(sha[:12] for sha in row.facts.get("images_sha256", [])) for row in (one, other)]
    if all(images):  # not known of rows of older versions
        pairs.append(("test images", images[0], images[1]))
    differing = [each for each in pairs if each[1] != each[2]]
    if not same(one.eps, other.eps):
        differing.append(("eps", one.eps, other.eps))
    if differing:
        what, mine, its = differing[0]
        names = one.name, other.name
        raise UsageError(f"{names[0]} and {names[1]} cannot be compared: {what} {mine} of the one, {its} of the other")
