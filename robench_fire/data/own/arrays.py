"""Images and labels as arrays: of an npz, or of a function of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robench_fire.data.own.parts import Found, Labels, Part
from robench_fire.errors import DataError, in_a_line
from robench_fire.files import refuse_bomb

PARTED = {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")}
WHOLE = ("images", "labels")
NAMES = "images and labels, or x_train, y_train, x_test and y_test (x_val and y_val besides)"
CLASSES = "class_names"


def from_npz(path: Path) -> Found:
    """The arrays of an npz, by their names; nothing pickled in it is read.

    Raises:
        DataError: naming the array and what is wrong with it.
    """
    try:
        refuse_bomb(path)
        with np.load(path, allow_pickle=False) as archive:
            known = {*WHOLE, CLASSES, *(name for pair in PARTED.values() for name in pair)}
            content = {name: _read(path, archive, name) for name in archive.files if name in known}
            return found(str(path), content, archive.files)
    except DataError:
        raise
    except Exception as fault:  # whatever the readers raise on a broken file, it is unreadable
        raise DataError(f"{path} is not a readable npz ({in_a_line(fault)}); write it with numpy.savez") from None


def _read(path: Path, archive: Any, name: str) -> Any:
    try:
        return archive[name]
    except ValueError as fault:
        if "pickle" not in str(fault):
            raise
        # an array of objects is a pickle, which could run anything
        fix = "save a plain array: numbers, or names of one length, np.array(names, dtype=str)"
        raise DataError(f"{path}: {name} holds pickled objects, which are never read; {fix}") from None


def found(where: str, content: Mapping[str, Any], there: list[str] | None = None) -> Found:
    """The parts in arrays by name, each checked.

    Raises:
        DataError: naming the array and what is wrong with it.
    """
    pairs = {name: pair for name, pair in PARTED.items() if any(each in content for each in pair)}
    pairs = pairs or {"train": WHOLE}
    lacking = [name for pair in pairs.values() for name in pair if name not in content]
    if lacking or "train" not in pairs or (len(pairs) == 1 and pairs["train"] != WHOLE):
        holds = ", ".join(map(str, there if there is not None else content)) or "nothing"
        raise DataError(f"{where} holds {holds}; expected {NAMES}")
    parts = {name: _part(where, pair, content[pair[0]], content[pair[1]]) for name, pair in pairs.items()}
    count = _classes(where, pairs, parts)
    names = [str(each) for each in content[CLASSES]] if CLASSES in content else [str(each) for each in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise DataError(f"{where}: {CLASSES} holds {len(set(names))} names for {count} classes; give each its own")
    return Found(tuple(names), parts)


def _part(where: str, names: tuple[str, str], images: Any, labels: Any) -> Part:
    one, other = (f"{where}: {name}" for name in names)
    pixels, numbers = _pixels(one, _plain(one, images)), _labels(other, _plain(other, labels))
    if len(pixels) != len(numbers):
        raise DataError(f"{where}: {names[0]} holds {len(pixels):,} images and {names[1]} {len(numbers):,} labels")
    if not len(pixels):
        raise DataError(f"{where}: {names[0]} holds no image")
    return Part(numbers, [f"{names[0]}[{number}]" for number in range(len(pixels))], partial(_picture, pixels))


def _plain(what: str, value: Any) -> NDArray[Any]:
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except Exception as fault:  # whatever numpy, torch or an object of the user's raises
        raise DataError(f"{what} is no array ({in_a_line(fault)})") from None


def _picture(pixels: NDArray[np.uint8], number: int) -> Image.Image:
    one = pixels[number]
    return Image.fromarray(one[:, :, 0] if one.shape[2] == 1 else one)


def _pixels(what: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 (N, H, W, C) of either kind that is taken: that, or floats (N, C, H, W) in [0, 1]."""
    said = f"{what} is {images.dtype} {images.shape}"
    if images.dtype == np.uint8:
        images = images[..., None] if images.ndim == 3 else images
        if images.ndim != 4 or images.shape[3] not in (1, 3):
            first = images.ndim == 4 and images.shape[1] in (1, 3)
            fix = "transpose(0, 2, 3, 1) brings channels last" if first else "1 or 3 channels"
            raise DataError(f"{said}; uint8 images are (N, height, width, channels): {fix}")
        return images
    if images.dtype.kind != "f":
        raise DataError(f"{said}; images are uint8 from 0 to 255, as .astype('uint8') makes them, or floats in [0, 1]")
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        last = images.ndim == 4 and images.shape[3] in (1, 3)
        fix = "transpose(0, 3, 1, 2) brings channels first" if last else "1 or 3 channels"
        raise DataError(f"{said}; images of floats are (N, channels, height, width): {fix}")
    low, high = (float(images.min()), float(images.max())) if images.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):  # also where one is no number
        fix = "divide them by 255, or save them as uint8 (N, height, width, channels)"
        fix = fix if low >= 0 and high <= 255 else "undo their normalisation: recipe.normalise does that in the model"
        raise DataError(f"{what} runs from {low:.4g} to {high:.4g}; floats lie in [0, 1]: {fix}")
    levels: NDArray[np.uint8] = np.rint(images.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    return levels


def _labels(what: str, labels: NDArray[Any]) -> Labels:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise DataError(f"{what} is {labels.shape}, one column for each class; save class numbers: labels.argmax(1)")
    if labels.dtype == np.uint64 and labels.size and labels.max() >= 2**63:
        raise DataError(f"{what} runs to {labels.max()}; classes are counted from 0")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        fix = "labels.astype(int)" if labels.dtype.kind == "f" else "numpy.unique(labels, return_inverse=True)[1]"
        raise DataError(f"{what} is {labels.dtype} {labels.shape}; expected class numbers (N,): {fix}")
    return labels.astype(np.int64)


def _classes(where: str, pairs: Mapping[str, tuple[str, str]], parts: Mapping[str, Part]) -> int:
    """How many classes the training labels have: every number from 0, and no other in another part."""
    train, name = parts["train"].labels, pairs["train"][1]
    low, high = int(train.min()), int(train.max())
    if low:
        fix = "labels - 1" if low == 1 else "numpy.unique(labels, return_inverse=True)[1]"
        raise DataError(f"{where}: {name} runs from {low} to {high}; classes are counted from 0: {fix}")
    if missing := sorted(set(range(min(high, len(train)) + 1)) - set(train.tolist())):
        few = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        raise DataError(
            f"{where}: {name} runs to {high} and has no image of class {few}; number the classes without gaps, "
            "numpy.unique(labels, return_inverse=True)[1]"
        )
    if not high:
        raise DataError(f"{where}: {name} holds one class alone; two are needed")
    for part, each in parts.items():
        if not (each.labels.min() >= 0 and each.labels.max() <= high):
            raise DataError(
                f"{where}: {pairs[part][1]} runs from {each.labels.min()} to {each.labels.max()}, and the training "
                f"labels from 0 to {high}; number both alike"
            )
    return high + 1
