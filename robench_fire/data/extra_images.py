"""Extra images with labels from a user's file, read without executing anything in it."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robench_fire.errors import DataError
from robench_fire.files import ROOM, TIMES, refuse_bomb, sha256
from robench_fire.problem.dataset import Split
from robench_fire.problem.recipe import Extra

# What a pickled array needs, under the module names of numpy 1 and 2. Nothing here can run a caller's code.
_ALLOWED = {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

UNREADABLE = "neither a readable npz nor a pickle of arrays"
GENERATED = 0.7  # of a batch, in Wang et al. 2023
KEYS = {"pickle": ("data", "extrapolated_targets"), "npz": ("image", "label")}


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays, numbers, strings and plain containers; refuses every other class or function by name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(f"refused: the pickle asks for {module}.{name}, which is no array; nothing was executed")
        return super().find_class(module, name)


def identified(path: Path) -> str:
    """The file's SHA-256, which identifies it in a plan.

    Raises:
        DataError: if there is no such file.
    """
    if not path.is_file():
        raise DataError(f"--extra-data {path}: no such file; docs/data.md describes the layouts")
    return sha256(path)


def of_file(path: Path, shape: tuple[int, int, int]) -> Extra:
    """What a plan says of a file: its SHA-256, who made its images, and how much of each batch they are.

    An npz holds images from a generator, seven to three of the data set's (Wang et al. 2023); anything else is mixed
    half and half (Carmon et al. 2019). ``shape``: of the data set's images.

    Raises:
        DataError: if there is no such file, or an npz has no labels or images of another shape, which it says up front.
    """
    known = Extra(source="file", sha256=identified(path))
    if not _zipped(path):
        return known
    try:
        _look(path, shape)
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from None
    except Exception as fault:  # as in ``load``
        raise DataError(f"{path}: {UNREADABLE} ({type(fault).__name__})") from None
    return replace(known, share=GENERATED, made_by="generator")


def _look(path: Path, shape: tuple[int, int, int]) -> None:
    """Refuse an npz by its size, the names of its arrays and the header of its images, without reading any of them."""
    refuse_bomb(path)
    with zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        _complete(names, KEYS["npz"])
        with archive.open(names[KEYS["npz"][0]]) as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            found, _, dtype = header(file)
    _like(shape, found, dtype)


def load(path: Path, shape: tuple[int, int, int], num_classes: int) -> Split:
    """Read an npz (``image``, ``label``) or a pickled dict (``data``, ``extrapolated_targets``).

    Images are (N, H, W, C) uint8, labels (N,) integers in [0, num_classes).

    Raises:
        DataError: naming the file and what is wrong with its keys, shapes, types or labels.
    """
    try:
        images, labels = _read(path)
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from None
    except (Exception, MemoryError) as fault:  # whatever the readers raise on a broken file, it is unreadable
        raise DataError(f"{path}: {UNREADABLE} ({type(fault).__name__})") from None
    return _checked(path, images, labels, shape, num_classes)


def refuse_shared(path: Path, images: torch.Tensor, held_out: Mapping[str, Split]) -> None:
    """Refuse extra ``images`` (N, C, H, W) of the file ``path`` of which some are, pixel for pixel, held out.

    Raises:
        DataError: naming how many, of which split, and the first.
    """
    for name, split in held_out.items():
        known = {image.tobytes() for image in split.images.numpy()}
        shared = [number for number, image in enumerate(images.numpy()) if image.tobytes() in known]
        if shared:
            raise DataError(
                f"{path}: {len(shared):,} of its {len(images):,} images are {name} images, pixel for pixel (the first "
                f"is number {shared[0]}, counted from 0); remove them, or accuracies would be of images trained on"
            )


def _zipped(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    room = max(ROOM, TIMES * path.stat().st_size)
    with open(path, "rb") as file:
        if _zipped(path):
            refuse_bomb(path)
            with np.load(file, allow_pickle=False) as archive:
                return _pair(archive, KEYS["npz"], room)
        content = _ArraysOnly(file).load()
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__} where a dict was expected")
    return _pair(content, KEYS["pickle"], room)


def _pair(content: Mapping[str, Any], keys: tuple[str, str], room: int) -> tuple[NDArray[Any], NDArray[Any]]:
    _complete(content, keys)
    return _array(keys[0], content[keys[0]], room), _array(keys[1], content[keys[1]], room)


def _array(key: str, value: Any, room: int) -> NDArray[Any]:
    """A value of a pickle as an array of ``room`` bytes at most: what holds itself many times is small in a file."""
    if isinstance(value, (list, tuple)):
        if any(isinstance(each, (list, tuple, dict, set)) for each in value):
            raise DataError(f"{key} holds lists in a list where an array was expected")
        longest = max((len(each) for each in value if isinstance(each, (str, bytes, bytearray))), default=0)
        if 4 * longest * len(value) > room:  # as an array makes room for the longest in every place
            raise DataError(f"{key} holds its texts so often that they do not fit the memory")
        if sum(each.nbytes for each in value if isinstance(each, np.ndarray)) > room:
            raise DataError(f"{key} holds its arrays so often that they do not fit the memory")
    elif isinstance(value, np.ndarray) and value.nbytes > room:
        raise DataError(f"{key} says that it holds {value.nbytes:,} bytes, more than its file could")
    return np.asarray(value)


def _complete(content: Collection[Any], keys: tuple[str, str]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"no {' and no '.join(missing)}; it holds {', '.join(map(str, content)) or 'nothing'}")


def _like(shape: tuple[int, int, int], found: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    channels, height, width = shape
    if dtype != np.uint8 or len(found) != 4 or found[1:] != (height, width, channels):
        raise DataError(f"images are {dtype} {found}; expected uint8 (N, {height}, {width}, {channels})")


def _checked(
    path: Path, images: NDArray[Any], labels: NDArray[Any], shape: tuple[int, int, int], num_classes: int
) -> Split:
    try:
        _like(shape, images.shape, images.dtype)
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from None
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataError(f"{path}: labels are {labels.dtype} {labels.shape}; expected {len(images)} integers")
    if len(labels) == 0:
        raise DataError(f"{path}: holds no image")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{path}: labels run from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}")
    pixels = torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C"))
    return Split(pixels, torch.from_numpy(labels.astype(np.int64)))
