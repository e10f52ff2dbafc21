"""Files of extra data."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robench_fire.data import extra_images
from robench_fire.errors import DataError

SHAPE = (3, 4, 5)


CLASSES = 10


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


LABELS = [0, 9, 3, 3, 1, 2]


UNREADABLE = "neither a readable npz nor a pickle of arrays"


each_protocol = pytest.mark.parametrize("protocol", [2, 3, 4, 5])


def pickled(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def both(images: object = IMAGES, labels: object = LABELS) -> dict[str, object]:
    return {"data": images, "extrapolated_targets": labels}


def zipped(path: Path, **arrays: Any) -> Path:
    with open(path, "wb") as file:  # numpy appends .npz to a path of another suffix
        np.savez(file, **arrays)
    return path


def refusal(path: Path, shape: tuple[int, int, int] = SHAPE) -> str:
    """What the DataError says after the file's name."""
    with pytest.raises(DataError) as caught:
        extra_images.load(path, shape, CLASSES)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) <= 2
    return message.removeprefix(f"{path}: ")


def assert_read(path: Path) -> None:
    split = extra_images.load(path, SHAPE, CLASSES)
    assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(split.images, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert split.labels.tolist() == LABELS
