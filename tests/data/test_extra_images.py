"""Extra data: both layouts are read, faults are said with the file's name, and nothing in a file is executed."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

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
        (both(images=[[1], [1, 2]]), f"{UNREADABLE} (ValueError)"),
        (both(images=[IMAGES[0], IMAGES[1, :2]]), f"{UNREADABLE} (ValueError)"),
        (both(labels=[[1], [1, 2]]), f"{UNREADABLE} (ValueError)"),
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
    assert refusal(pickled(tmp_path / "a.pickle", both(labels=labels.tolist()))).endswith("; expected 6 integers")


@pytest.mark.parametrize(("labels", "span"), [([0, 1, 2, 3, 4, 10], "0 to 10"), ([-1, 1, 2, 3, 4, 5], "-1 to 5")])
def test_labels_outside_the_classes_are_refused(tmp_path: Path, labels: list[int], span: str) -> None:
    said = f"labels run from {span}; expected 0 to 9"
    assert refusal(zipped(tmp_path / "a.npz", image=IMAGES, label=labels)) == said
    assert refusal(pickled(tmp_path / "a.pickle", both(labels=labels))) == said


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    nothing = np.zeros(0, np.int64)
    assert refusal(zipped(tmp_path / "a.npz", image=IMAGES[:0], label=nothing)) == "holds no image"
    assert refusal(pickled(tmp_path / "a.pickle", both(IMAGES[:0], nothing))) == "holds no image"


@each_protocol
def test_a_pickle_cut_anywhere_is_refused(tmp_path: Path, protocol: int) -> None:
    whole = pickle.dumps(both(IMAGES[:1], LABELS[:1]), protocol)
    for length in range(0, len(whole), 3):
        (tmp_path / "cut.pickle").write_bytes(whole[:length])
        assert re.fullmatch(rf"{UNREADABLE} \(\w+\)", refusal(tmp_path / "cut.pickle"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_cut_anywhere_is_refused(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "whole.npz", image=IMAGES[:1], label=LABELS[:1])
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        assert re.fullmatch(rf"{UNREADABLE} \(\w+\)", refusal(tmp_path / "cut.npz"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("part", ["arrays", "directory"])
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_an_npz_with_a_flipped_byte_is_refused_or_unharmed(
    tmp_path: Path, save: Callable[..., None], part: str, flip: int
) -> None:
    """Only what no reader looks at, a time stamp for instance, may change unnoticed."""
    save(tmp_path / "whole.npz", image=IMAGES, label=LABELS)
    whole = (tmp_path / "whole.npz").read_bytes()
    border = whole.index(b"PK\x01\x02")
    said = set()
    for position in range(border) if part == "arrays" else range(border, len(whole)):
        content = bytearray(whole)
        content[position] ^= flip
        (tmp_path / "flipped.npz").write_bytes(content)
        try:
            assert_read(tmp_path / "flipped.npz")
        except DataError:
            said.add(refusal(tmp_path / "flipped.npz"))
    assert f"{UNREADABLE} (BadZipFile)" in said
    assert save is np.savez or part == "directory" or f"{UNREADABLE} (error)" in said  # zlib's
    assert all(re.fullmatch(rf"{UNREADABLE} \(\w+\)|no (image|label)\b.*; it holds .*", each) for each in said)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 64,
        b"hello world\n",
        b"import numpy as np\n",
        b"<!doctype html>\n<html></html>\n",
        b'{"data": []}',
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x80\x09.",
    ],
)
@pytest.mark.parametrize("name", ["a.pickle", "a.npz", "a.txt"])
def test_any_other_file_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    assert refusal(tmp_path / "a.npy") == f"{UNREADABLE} (UnpicklingError)"


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path)
    assert refusal(tmp_path / "absent.npz")
    for path in (tmp_path, tmp_path / "absent.npz"):
        with pytest.raises(DataError, match=rf"--extra-data {path}: no such file; docs/data\.md"):
            extra_images.identified(path)


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    content = os.urandom(3 << 20) + b"odd"
    (tmp_path / "a").write_bytes(content)
    assert extra_images.identified(tmp_path / "a") == hashlib.sha256(content).hexdigest()


class Reduced:
    """Pickled as the call ``function(*given)``, which a plain unpickler makes."""

    def __init__(self, function: Callable[..., object], *given: object) -> None:
        self.call = (function, given)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


CALLS: list[tuple[Callable[[Path], Reduced], str]] = [
    (lambda path: Reduced(os.system, f"touch {path}"), "system"),
    (lambda path: Reduced(eval, f"open({str(path)!r}, 'w').close()"), "eval"),
    (lambda path: Reduced(exec, f"open({str(path)!r}, 'w').close()"), "exec"),
    (lambda path: Reduced(os.mkdir, str(path)), "mkdir"),
    (lambda path: Reduced(np.savetxt, str(path), [0.0]), "savetxt"),
]


@each_protocol
@pytest.mark.parametrize(("call", "name"), CALLS)
@pytest.mark.parametrize(
    "around",
    [
        lambda call: call,
        lambda call: both(images=call),
        lambda call: {call: 1},
        lambda call: {**both(), "more": [(call,)]},
        lambda call: both(labels=np.array([call] * 6, dtype=object)),
    ],
)
def test_a_pickle_that_would_execute_code_is_refused_by_name(
    tmp_path: Path, protocol: int, call: Callable[[Path], Reduced], name: str, around: Callable[[object], object]
) -> None:
    sentinel = tmp_path / "executed"
    path = pickled(tmp_path / "evil.pickle", around(call(sentinel)), protocol)
    said = refusal(path)
    assert not sentinel.exists()
    assert said.startswith("refused: the pickle asks for ")
    assert said.endswith("which is no array; nothing was executed")
    assert f".{name}," in said


@pytest.mark.parametrize("call", [call for call, _ in CALLS])
def test_those_pickles_do_execute_code_elsewhere(tmp_path: Path, call: Callable[[Path], Reduced]) -> None:
    pickle.loads(pickle.dumps(call(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def test_a_class_of_the_users_own_is_refused_by_name(tmp_path: Path) -> None:
    content = b"\x80\x02cmy_package.models\nNet\n)\x81."
    (tmp_path / "own.pickle").write_bytes(content)
    assert "asks for my_package.models.Net, which is no array" in refusal(tmp_path / "own.pickle")


@pytest.mark.parametrize(
    ("module", "attribute"),
    [("numpy", "ndarray.tofile"), ("numpy", "load"), ("numpy._core.multiarray", "fromfile"), ("_codecs", "lookup")],
)
def test_only_what_an_array_needs_is_allowed_of_the_allowed_modules(
    tmp_path: Path, module: str, attribute: str
) -> None:
    short = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute))
    (tmp_path / "dotted.pickle").write_bytes(b"\x80\x04" + short + b"\x93.")
    assert f"asks for {module}.{attribute}, which is no array" in refusal(tmp_path / "dotted.pickle")


@pytest.mark.parametrize("key", ["image", "label"])
def test_object_arrays_in_an_npz_are_refused_and_not_unpickled(tmp_path: Path, key: str) -> None:
    sentinel = tmp_path / "executed"
    objects = np.array([Reduced(os.mkdir, str(sentinel))] * 6, dtype=object)
    path = zipped(tmp_path / "evil.npz", **{"image": IMAGES, "label": LABELS, key: objects})
    assert refusal(path) == f"{UNREADABLE} (ValueError)"
    assert not sentinel.exists()


def test_an_npz_with_a_pickle_in_front_is_not_unpickled(tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    packed = io.BytesIO()
    np.savez(packed, image=IMAGES, label=LABELS)
    evil = pickle.dumps(Reduced(os.mkdir, str(sentinel)))
    (tmp_path / "both").write_bytes(evil + packed.getvalue())
    assert refusal(tmp_path / "both")
    assert not sentinel.exists()
