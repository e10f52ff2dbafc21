"""Extra data: both layouts are read, and other contents refused with what is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extra_files import (
    CLASSES,
    IMAGES,
    LABELS,
    UNREADABLE,
    assert_read,
    both,
    each_protocol,
    pickled,
    refusal,
    zipped,
)
from numpy.typing import NDArray

from robench_fire.data import extra_images
from robench_fire.data.extra_images import refuse_shared
from robench_fire.errors import DataError
from robench_fire.problem.dataset import Splits


@each_protocol
@pytest.mark.parametrize(
    "labels", [LABELS, np.array(LABELS), np.array(LABELS, np.uint8), [np.int64(y) for y in LABELS]]
)
def test_a_pickle_is_read(tmp_path: Path, protocol: int, labels: object) -> None:
    assert_read(pickled(tmp_path / "500k.pickle", both(labels=labels), protocol))


@each_protocol
def test_further_keys_of_a_pickle_are_ignored(tmp_path: Path, protocol: int) -> None:
    more = {"prediction_model": "cifar10-vs-ti", "ti_index": np.arange(6), "confidence": np.float64(0.5)}
    assert_read(pickled(tmp_path / "500k.pickle", {**both(), **more}, protocol))


@each_protocol
@pytest.mark.parametrize("arranged", [np.asfortranarray, lambda images: np.repeat(images, 2, axis=0)[::2]])
def test_the_memory_layout_does_not_matter(
    tmp_path: Path, protocol: int, arranged: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    assert_read(pickled(tmp_path / "any.pickle", both(arranged(IMAGES)), protocol))


def test_pickles_of_numpy_1_and_2_are_read(tmp_path: Path) -> None:
    content = pickle.dumps(both(labels=np.array(LABELS)), 2)
    for core in (b"numpy.core", b"numpy._core"):
        path = tmp_path / "any.pickle"
        path.write_bytes(content.replace(b"cnumpy._core.", b"c" + core + b"."))
        assert_read(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", ["any.npz", "edm"])
def test_an_npz_is_read_by_content_not_by_suffix(
    tmp_path: Path, save: Callable[..., None], dtype: type, name: str
) -> None:
    with open(tmp_path / name, "wb") as file:
        save(file, image=IMAGES, label=np.array(LABELS, dtype), more=np.zeros(3))
    assert_read(tmp_path / name)


def test_grey_images_keep_their_channel(tmp_path: Path) -> None:
    grey = IMAGES[..., :1].copy()
    split = extra_images.load(zipped(tmp_path / "grey.npz", image=grey, label=LABELS), (1, 4, 5), CLASSES)
    assert np.array_equal(split.images.numpy()[:, 0], grey[..., 0])


@each_protocol
@pytest.mark.parametrize("contiguous", [np.ascontiguousarray, np.asfortranarray])
def test_read_only_grey_images_are_copied(
    tmp_path: Path, protocol: int, contiguous: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    """From protocol 5 on, such arrays stay read-only; warnings are errors in these tests."""
    grey, labels = contiguous(IMAGES[..., :1]), np.array(LABELS)
    grey.flags.writeable = labels.flags.writeable = False
    split = extra_images.load(pickled(tmp_path / "grey.pickle", both(grey, labels), protocol), (1, 4, 5), CLASSES)
    assert np.array_equal(split.images.numpy()[:, 0], grey[..., 0])
    split.images.zero_()
    split.labels.zero_()
    assert (split.images.is_contiguous(), split.labels.tolist()) == (True, [0] * 6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": IMAGES}, "no extrapolated_targets; it holds data"),
        ({"extrapolated_targets": LABELS}, "no data; it holds extrapolated_targets"),
        ({"image": IMAGES, "label": LABELS}, "no data and no extrapolated_targets; it holds image, label"),
        ({0: IMAGES}, "no data and no extrapolated_targets; it holds 0"),
        ({}, "no data and no extrapolated_targets; it holds nothing"),
        (both(images=[[1], [1, 2]]), "data holds lists in a list where an array was expected"),
        (both(images=[np.zeros((100, 100))] * 5000), "data holds its arrays so often that they do not fit the memory"),
        (both(images=[IMAGES[0], IMAGES[1, :2]]), f"{UNREADABLE} (ValueError)"),
        (both(labels=[[1], [1, 2]]), "extrapolated_targets holds lists in a list where an array was expected"),
        ([IMAGES, LABELS], "holds a list where a dict was expected"),
        (IMAGES, "holds a ndarray where a dict was expected"),
        (None, "holds a NoneType where a dict was expected"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, content: object, said: str) -> None:
    assert refusal(pickled(tmp_path / "other.pickle", content)) == said


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"image": IMAGES}, "no label; it holds image"),
        ({"label": LABELS}, "no image; it holds label"),
        ({"data": IMAGES, "targets": LABELS}, "no image and no label; it holds data, targets"),
        ({}, "no image and no label; it holds nothing"),
    ],
)
def test_an_npz_of_other_arrays_is_refused(tmp_path: Path, arrays: dict[str, object], said: str) -> None:
    assert refusal(zipped(tmp_path / "other.npz", **arrays)) == said


WRONG_IMAGES = [
    IMAGES.transpose(0, 3, 1, 2),
    IMAGES.transpose(0, 2, 1, 3),
    IMAGES[..., :1],
    IMAGES[..., 0],
    IMAGES[0],
    IMAGES.reshape(6, -1),
    IMAGES.astype(np.float32) / 255,
    IMAGES.astype(np.int64),
    IMAGES.astype(np.int8),
    IMAGES > 127,
    np.uint8(3),
]


@pytest.mark.parametrize("images", WRONG_IMAGES)
def test_images_of_another_shape_or_type_are_refused(tmp_path: Path, images: NDArray[Any]) -> None:
    said = f"images are {images.dtype} {images.shape}; expected uint8 (N, 4, 5, 3)"
    assert refusal(zipped(tmp_path / "a.npz", image=images, label=LABELS)) == said
    assert refusal(pickled(tmp_path / "a.pickle", both(images))) == said


WRONG_LABELS = [
    np.array(LABELS, np.float32),
    np.array(LABELS) > 3,
    np.array([str(label) for label in LABELS]),
    np.eye(10, dtype=np.int64)[LABELS],
    np.array(LABELS)[:, None],
    np.array(LABELS[:-1]),
    np.array([*LABELS, 0]),
    np.array(3),
]


@pytest.mark.parametrize("labels", WRONG_LABELS)
def test_labels_of_another_shape_or_type_are_refused(tmp_path: Path, labels: NDArray[Any]) -> None:
    said = f"labels are {labels.dtype} {labels.shape}; expected 6 integers"
    assert refusal(zipped(tmp_path / "a.npz", image=IMAGES, label=labels)) == said
    assert refusal(pickled(tmp_path / "a.pickle", both(labels=labels))) == said
    listed = "; expected 6 integers" if labels.ndim < 2 else "lists in a list where an array was expected"
    assert refusal(pickled(tmp_path / "a.pickle", both(labels=labels.tolist()))).endswith(listed)


@pytest.mark.parametrize(("labels", "span"), [([0, 1, 2, 3, 4, 10], "0 to 10"), ([-1, 1, 2, 3, 4, 5], "-1 to 5")])
def test_labels_outside_the_classes_are_refused(tmp_path: Path, labels: list[int], span: str) -> None:
    said = f"labels run from {span}; expected 0 to 9"
    assert refusal(zipped(tmp_path / "a.npz", image=IMAGES, label=labels)) == said
    assert refusal(pickled(tmp_path / "a.pickle", both(labels=labels))) == said


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    nothing = np.zeros(0, np.int64)
    assert refusal(zipped(tmp_path / "a.npz", image=IMAGES[:0], label=nothing)) == "holds no image"
    assert refusal(pickled(tmp_path / "a.pickle", both(IMAGES[:0], nothing))) == "holds no image"


def test_images_that_are_held_out_are_refused(small: Splits, tmp_path: Path) -> None:
    own, path = torch.zeros(3, 1, 8, 8, dtype=torch.uint8), tmp_path / "extra.npz"
    held_out = {"test": small.test, "validation": small.validation}
    refuse_shared(path, own, held_out)
    for name, split in held_out.items():
        mixed = torch.cat([own, split.images[5:7], own])
        said = rf"extra\.npz: 2 of its 8 images are {name} images, pixel for pixel \(the first is number 3, counted"
        with pytest.raises(DataError, match=said):
            refuse_shared(path, mixed, held_out)
