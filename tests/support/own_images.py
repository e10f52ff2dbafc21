"""Images as users have them: real digits as PNGs in class folders, or as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robench_fire.data.own.preparing import prepare
from robench_fire.data.own.sources import source_of
from robench_fire.datasets import digits
from robench_fire.problem.dataset import Split
from robench_fire.problem.own_data import OwnData

DIGITS = digits.DATASET.splits(Path())


def few(split: Split, each: int, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """So many images (N, 8, 8, 1) of each of the first classes, one class after another, and their labels."""
    labels = split.labels.numpy()
    at = np.concatenate([np.flatnonzero(labels == label)[:each] for label in range(classes)])
    return split.images.numpy()[at].transpose(0, 2, 3, 1), labels[at]


def arrays(each: int = 6, classes: int = 4) -> dict[str, NDArray[Any]]:
    """As an npz holds them."""
    train, test = few(DIGITS.train, each, classes), few(DIGITS.test, max(each // 2, 1), classes)
    return {"x_train": train[0], "y_train": train[1], "x_test": test[0], "y_test": test[1]}


def npz(folder: Path, name: str = "numbers.npz", **content: Any) -> str:
    """Its path."""
    np.savez(folder / name, **content)
    return str(folder / name)


def class_folders(
    folder: Path, parts: Iterable[str] = ("train", "test"), each: int = 6, classes: int = 4, mode: str = "L",
    size: int = 8,
) -> str:  # fmt: skip
    """A folder of PNGs of digits; "" as a part: class folders directly. Its path."""
    for part in parts:
        images, labels = few(DIGITS.test if part == "test" else DIGITS.train, each, classes)
        for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / part / f"digit-{label}" / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[:, :, 0]).resize((size, size)).convert(mode).save(path)
    return str(folder)


def prepared(text: str, data: Path, **asked: Any) -> OwnData:
    """What a source is, its arrays below ``data``."""
    return prepare(source_of(text), data, lambda *_: None, **asked)
