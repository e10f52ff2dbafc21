"""What every source of images comes to: parts of labelled pictures; and how images are held out of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from robench_fire.errors import DataError

TEST_SHARE, TEST_SEED = 5, 20260126  # a fifth, where a source has no test images of its own
VALIDATION_SHARE, VALIDATION_MOST, VALIDATION_SEED = 10, 1000, 20200626
ORDER_SEED = 20261128

PART_NAMES = {"train": "train", "test": "test", "val": "validation", "valid": "validation", "validation": "validation"}
"""What a source may call its parts, and what they are."""

Labels = NDArray[np.int64]


class Part(NamedTuple):
    """Labelled pictures: ``labels`` (N,), what each is called, and each opened, its pixels perhaps still unread."""

    labels: Labels
    names: Sequence[str]
    picture: Callable[[int], Image]

    def take(self, index: Sequence[int] | Labels) -> Part:
        """Those at these places."""
        at = [int(each) for each in index]
        picture = self.picture
        return Part(self.labels[at], [self.names[each] for each in at], lambda number: picture(at[number]))


class Found(NamedTuple):
    """A source's pictures by part ("train", and perhaps "validation" and "test"), and files that are no images."""

    class_names: tuple[str, ...]
    parts: dict[str, Part]
    ignored: int = 0


class Divided(NamedTuple):
    """All three parts, and in words how they came to be."""

    train: Part
    validation: Part
    test: Part
    how: str

    def each(self) -> Iterator[tuple[str, Part]]:
        """The parts with their names."""
        yield from (("train", self.train), ("validation", self.validation), ("test", self.test))


def divided(parts: dict[str, Part]) -> Divided:
    """A source's parts, with those that are missing held out of training images by fixed seeds.

    Test and validation images are in an order drawn by a fixed seed, so that the first ones stand for all.

    Raises:
        DataError: if there are too few.
    """
    parts, said = dict(parts), []
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        said.append("test: its validation images, as it has no others")
    elif "test" not in parts:
        parts |= _held("test", parts["train"], -(-len(parts["train"].labels) // TEST_SHARE), TEST_SEED)
        said.append(f"test: one in {TEST_SHARE} of all, drawn by seed {TEST_SEED}")
    else:
        said.append("test: its own")
    if "validation" not in parts:
        count = min(VALIDATION_MOST, -(-len(parts["train"].labels) // VALIDATION_SHARE))
        parts |= _held("validation", parts["train"], count, VALIDATION_SEED)
        said.append(f"validation: {len(parts['validation'].labels):,} of train, drawn by seed {VALIDATION_SEED}")
        if not len(parts["validation"].labels):
            raise DataError("no class has two training images, so that none can be held out; add images")
    else:
        said.append("validation: its own")
    test, validation = (each.take(drawn(len(each.labels), ORDER_SEED)) for each in (parts["test"], parts["validation"]))
    return Divided(parts["train"], validation, test, "; ".join(said))


def _held(name: str, train: Part, count: int, seed: int) -> dict[str, Part]:
    held = held_out(train.labels, count, seed)
    return {name: train.take(np.flatnonzero(held)), "train": train.take(np.flatnonzero(~held))}


def drawn(count: int, seed: int) -> Labels:
    """A fixed permutation; torch's on the CPU, which stays the same between versions."""
    order: Labels = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    return order


def held_out(labels: Labels, count: int, seed: int) -> NDArray[np.bool_]:
    """(N,) about ``count`` images, as many of each class as its share asks for: at least one, and never the last."""
    order = drawn(len(labels), seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        own = order[labels[order] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
        place[own[0]] = -1
        place[own[-1]] = 2  # also of a class with one image
    least = int(np.count_nonzero(place < 0))
    held = np.zeros(len(labels), bool)
    held[np.argsort(place, kind="stable")[: max(count, least)]] = True
    return held & (place < 2)
