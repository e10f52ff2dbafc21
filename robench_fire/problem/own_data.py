"""A data set of the user's own as a plan knows it: all that is needed to train on it again, but for its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Images that were prepared (data.own), identified by their ``sha256``; where they came from is not part of it.

    ``shape``: (channels, height, width). ``mean`` and ``std``: per channel, of the training images in [0, 1].
    ``train``, ``validation``, ``test``: how many images. ``resize``: the side they were brought to; None: as they were.
    """

    name: str
    shape: tuple[int, int, int]
    num_classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: int
    validation: int
    test: int
    sha256: str
    resize: int | None = None


def own_data(plain: Mapping[str, Any] | None) -> OwnData | None:
    """The value of a plan's JSON, or of a dataset.json; None for None.

    Raises:
        KeyError: if something is missing.
    """
    if plain is None:
        return None
    values: dict[str, Any] = {each.name: plain[each.name] for each in fields(OwnData)}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return OwnData(**values)
