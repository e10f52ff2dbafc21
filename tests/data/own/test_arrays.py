"""Images and labels of an npz: the two kinds that are taken, and what is refused with the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_images import arrays, npz, prepared

from robench_fire.data.own.dataset import load
from robench_fire.errors import DataError

GOOD = arrays()
COLOUR = {name: np.repeat(value, 3, 3) if name.startswith("x") else value for name, value in GOOD.items()}


def test_parts_of_an_npz_keep_every_pixel(tmp_path: Path) -> None:
    splits = load(prepared(npz(tmp_path, **COLOUR), tmp_path), tmp_path)
    images = [image.tobytes() for split in splits for image in split.images.numpy()]
    assert sorted(images) == sorted(
        image.transpose(2, 0, 1).tobytes() for name in ("x_train", "x_test") for image in COLOUR[name]
    )
    for split in splits[:2]:
        for image, label in zip(split.images.numpy(), split.labels.tolist(), strict=True):
            (at,) = np.flatnonzero((COLOUR["x_train"].transpose(0, 3, 1, 2) == image).all((1, 2, 3)))
            assert COLOUR["y_train"][at] == label


def test_floats_are_the_same_images(tmp_path: Path) -> None:
    floats = {name: value.transpose(0, 3, 1, 2) / 255 if name[0] == "x" else value for name, value in COLOUR.items()}
    one, other = (
        prepared(npz(tmp_path, "a.npz", **COLOUR), tmp_path),
        prepared(npz(tmp_path, "b.npz", **floats), tmp_path),
    )
    assert one.sha256 == other.sha256


def test_one_pair_is_parted_by_a_fixed_seed(tmp_path: Path) -> None:
    names = {"class_names": np.array(["nought", "one", "two", "three"])}
    own = prepared(npz(tmp_path, images=GOOD["x_train"], labels=GOOD["y_train"][:, None], **names), tmp_path)
    assert (own.train, own.validation, own.test) == (15, 4, 5)
    assert own.class_names == ("nought", "one", "two", "three")


def test_grey_images_need_no_channel(tmp_path: Path) -> None:
    bare = {name: value[..., 0] if name.startswith("x") else value for name, value in GOOD.items()}
    own = prepared(npz(tmp_path, **bare), tmp_path)
    assert own.sha256 == prepared(npz(tmp_path, "other.npz", **GOOD), tmp_path).sha256


X, Y = GOOD["x_train"], GOOD["y_train"]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "train alone": ({"x_train": X, "y_train": Y}, "holds x_train, y_train; expected"),
    "half a pair": ({**GOOD, "x_val": X}, "expected images and labels"),
    "from 5": ({"images": X, "labels": Y + 5}, "runs from 5 to 8; classes are counted from 0: numpy.unique"),
    "gaps": ({"images": X, "labels": Y * 2}, r"runs to 6 and has no image of class 1, 3, 5; number .* without gaps"),
    "other test classes": ({**GOOD, "y_test": GOOD["y_test"] + 1}, "y_test runs from 1 to 4, and the training labels"),
    "four channels": ({"images": np.repeat(X, 4, 3), "labels": Y}, r"uint8 \(24, 8, 8, 4\); .*: 1 or 3 channels"),
    "channels first": (
        {"images": X.transpose(0, 3, 1, 2), "labels": Y},
        r"transpose\(0, 2, 3, 1\) brings channels last",
    ),
    "floats, channels last": ({"images": X / 255, "labels": Y}, r"transpose\(0, 3, 1, 2\) brings channels first"),
    "normalised": ({"images": X.transpose(0, 3, 1, 2) / 99 - 1, "labels": Y}, "undo their normalisation"),
    "integers": ({"images": X.astype(int), "labels": Y}, r"is int64 .*astype\('uint8'\)"),
    "names": ({**GOOD, "class_names": np.array(["a", "b"])}, "class_names holds 2 names for 4 classes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    content, said = REFUSED[case]
    path = npz(tmp_path, **content)
    with pytest.raises(DataError, match=said) as caught:
        prepared(path, tmp_path)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)
