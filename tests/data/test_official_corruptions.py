"""Files in the layout of CIFAR-10-C: what is read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from corrupted_files import layout

from robench_fire.data.corruptions import official
from robench_fire.data.corruptions.made import corrupted
from robench_fire.datasets import digits
from robench_fire.errors import DataError

TEST = digits.DATASET.splits(Path()).test.take(slice(20))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return layout(tmp_path / "DIGITS-C", TEST)


@pytest.mark.parametrize("severity", [1, 5])
def test_a_severity_is_its_rows(folder: Path, severity: int) -> None:
    official.check(folder, TEST)
    found = official.images(folder, "snow", severity, TEST, 12)
    assert torch.equal(found, corrupted(TEST.images, "snow", severity)[:12])


def saved(name: str, array: Callable[[], object]) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / f"{name}.npy", array())  # type: ignore[arg-type]


LABELS = TEST.labels.numpy()
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is missing": (lambda folder: (folder / "snow.npy").unlink(), r"snow\.npy is missing; unpack"),
    "several are missing": (
        lambda folder: [(folder / f"{name}.npy").unlink() for name in ("frost", "fog")],
        r"frost\.npy is missing, and 1 more",
    ),
    "labels are missing": (lambda folder: (folder / "labels.npy").unlink(), r"labels\.npy is missing"),
    "images of another size": (
        saved("fog", lambda: np.zeros((100, 32, 32, 3), np.uint8)),
        r"fog\.npy holds uint8 \(100, 32, 32, 3\), not uint8 \(100, 8, 8, 1\): .* images are not resized",
    ),
    "one severity": (saved("fog", lambda: np.zeros((20, 8, 8, 1), np.uint8)), r"uint8 \(20, 8, 8, 1\), not uint8"),
    "floats": (saved("fog", lambda: np.zeros((100, 8, 8, 1), np.float32)), r"holds float32"),
    "no array": (lambda folder: (folder / "fog.npy").write_bytes(b"<html>"), r"fog\.npy cannot be read"),
    "half a file": (
        lambda folder: (folder / "fog.npy").write_bytes((folder / "fog.npy").read_bytes()[:999]),
        r"fog\.npy cannot be read \(ValueError\); unpack the archive once more",
    ),
    "labels of another test set": (
        saved("labels", lambda: np.tile((LABELS + 1) % 10, 5)),
        r"100 of 100 labels are not the test images' own, the first at row 0 .*another test set",
    ),
    "labels of one severity": (saved("labels", lambda: LABELS), r"holds \(20,\) labels, not \(100,\)"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_other_folders_are_refused(folder: Path, change: Callable[[Path], object], said: str) -> None:
    change(folder)
    with pytest.raises(DataError, match=said) as raised:
        official.check(folder, TEST)
    assert "\n" not in str(raised.value)


def test_what_is_no_folder_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="is no folder; --corruptions-dir names one"):
        official.check(folder / "fog.npy", TEST)
