"""A data set of Hugging Face, of its hub or of a local folder that save_to_disk wrote, by the package datasets."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from robench_fire.data.own.parts import PART_NAMES, Found, Part
from robench_fire.data.own.sources import Source
from robench_fire.errors import DataError, UsageError


def read(source: Source) -> Found:
    """The images and class numbers of its parts; other parts and columns are left.

    Raises:
        UsageError: if the package is not installed.
        DataError: if it cannot be read, or has no such columns.
    """
    try:
        import datasets
    except ImportError:
        raise UsageError(f"{source.text} needs the package datasets: pip install 'robench-fire[hf]'") from None
    place = source.path
    try:
        loaded = datasets.load_dataset(source.place) if place is None else datasets.load_from_disk(str(place))
    except Exception as fault:  # whatever the package and what it is built on raise
        said = str(fault).strip().split("\n")[0][:200]
        raise DataError(f"{source.text} cannot be loaded: {type(fault).__name__}: {said}") from None
    given = {"train": loaded} if isinstance(loaded, datasets.Dataset) else dict(loaded)
    chosen = {PART_NAMES[name]: each for name, each in given.items() if name in PART_NAMES}
    if "train" not in chosen:
        raise DataError(f"{source.text} has no part train; it has {', '.join(given) or 'none'}")
    features = chosen["train"].features
    images = _column(source, features, datasets.Image, ("image", "img"))
    labels = _column(source, features, datasets.ClassLabel, ("label", "labels"))
    names = getattr(features[labels], "names", None)
    parts = {name: _part(source, each, images, labels) for name, each in chosen.items()}
    count, most = max(int(each.labels.max()) for each in parts.values()) + 1, sum(len(p.labels) for p in parts.values())
    if count > (len(names) if names else most):
        raise DataError(f"{source.text}: {labels} runs to {count - 1}; number the classes from 0 without gaps")
    return Found(tuple(names or map(str, range(count))), parts)


def _column(source: Source, features: Any, kind: type, usual: tuple[str, ...]) -> str:
    """The one column of a kind; of several, or of numbers without names, the one that is called as usual."""
    of_kind: list[str] = [name for name, each in features.items() if isinstance(each, kind)]
    named = [name for name in of_kind or features if name in usual]
    if len(of_kind) == 1 or named:
        return named[0] if named else of_kind[0]
    listed = ", ".join(f"{name} ({type(each).__name__})" for name, each in features.items())
    raise DataError(f"{source.text} has no column {' or '.join(usual)} of type {kind.__name__}; it has {listed}")


def _part(source: Source, part: Any, images: str, labels: str) -> Part:
    numbers = np.asarray(part[labels])
    if numbers.dtype.kind not in "iu" or not len(numbers):
        raise DataError(f"{source.text}: {labels} holds {numbers.dtype}; expected class numbers")
    if numbers.min() < 0:
        raise DataError(f"{source.text}: {labels} holds {numbers.min()}, as of images without a label; leave those out")
    names = [f"{part.split or images}[{number}]" for number in range(len(numbers))]
    return Part(numbers.astype(np.int64), names, partial(_picture, part, images))


def _picture(part: Any, images: str, number: int) -> Image.Image:
    found: Image.Image = part[number][images]
    return found
