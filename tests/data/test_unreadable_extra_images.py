"""Extra data that cannot be read: faults are said with the file's name, and nothing in a file is executed."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from extra_files import (
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

from robench_fire.data import extra_images
from robench_fire.errors import DataError


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
    others = r"no (image|label)\b.*; it holds .*|.* is of [\d,]+ bytes and unpacks to [\d,]+: nothing worth .*"
    assert all(re.fullmatch(rf"{UNREADABLE} \(\w+\)|{others}", each) for each in said)


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


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data", np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (10**11, 8, 8, 1), (0, 0, 0, 0)), "more than"),
        ("extrapolated_targets", ["x" * 10**6] * 10**4, "holds its texts so often"),
    ],
    ids=["strides", "texts"],
)
def test_what_is_small_in_a_file_and_large_in_memory_is_refused(key: str, value: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        extra_images._array(key, value, 10**9)
