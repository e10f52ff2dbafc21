"""Files in the layout of CIFAR-10-C: a folder with NAME.npy for each corruption, and labels.npy.

Each NAME.npy holds (5 N, H, W, C) uint8, severity s at rows (s - 1) N to s N, for the N test images in their order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robench_fire.data.corruptions.names import CORRUPTIONS, SEVERITIES
from robench_fire.errors import DataError
from robench_fire.problem.dataset import Split


def check(folder: Path, test: Split) -> None:
    """Whether ``folder`` holds every corruption of these test images, all of them; no image is read.

    Raises:
        DataError: for a file that is missing, of another size, or with other labels than the test images have.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; --corruptions-dir names one with fog.npy, labels.npy and the others")
    gone = [name for name in (*CORRUPTIONS, "labels") if not (folder / f"{name}.npy").is_file()]
    if gone:
        more = f", and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise DataError(f"{folder / gone[0]}.npy is missing{more}; unpack the official archive there once more")
    count, channels, height, width = test.images.shape
    for name in CORRUPTIONS:
        _array(folder, name, (len(SEVERITIES) * count, height, width, channels))
    _check_labels(folder / "labels.npy", test.labels.cpu().numpy())


def images(folder: Path, name: str, severity: int, test: Split, examples: int) -> Tensor:
    """(examples, C, H, W) uint8: the first ``examples`` of the ``test`` images under a corruption.

    Raises:
        DataError: if they cannot be read.
    """
    count, channels, height, width = test.images.shape
    found = _array(folder, name, (len(SEVERITIES) * count, height, width, channels))
    first = (severity - 1) * count
    return torch.from_numpy(np.array(found[first : first + examples])).permute(0, 3, 1, 2).contiguous()


def _array(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """A file's images, which stay on the disk until they are used."""
    path = folder / f"{name}.npy"
    found = _opened(path)
    if found.dtype != np.uint8 or found.shape != shape:
        raise DataError(
            f"{path} holds {found.dtype} {found.shape}, not uint8 {shape}: five severities of all test images, in "
            "their own size; images are not resized"
        )
    return found


def _opened(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as fault:  # whatever numpy raises on a broken file
        raise DataError(f"{path} cannot be read ({type(fault).__name__}); unpack the archive once more") from None


def _check_labels(path: Path, own: NDArray[Any]) -> None:
    """The labels are those of the test images, five times: else these are other images, or in another order."""
    found, wanted = _opened(path), np.tile(own, len(SEVERITIES))
    if found.shape != wanted.shape:
        raise DataError(f"{path} holds {found.shape} labels, not {wanted.shape}: the test images' own, five times")
    if apart := int((found != wanted).sum()):
        first = int(np.argmax(found != wanted))
        raise DataError(
            f"{path}: {apart:,} of {len(wanted):,} labels are not the test images' own, the first at row {first} "
            f"({found[first]}, not {wanted[first]}); these are corrupted images of another test set"
        )
