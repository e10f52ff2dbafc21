"""A function that returns images: of a file or a module, and what is said of those that do not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from own_images import arrays, npz, prepared

from robench_fire.errors import DataError

FILE = """
import numpy as np, torch

with np.load({path!r}) as content:
    parts = dict(content)

def by_name():
    return parts

def pairs():
    return (parts["x_train"], parts["y_train"]), (parts["x_test"], parts["y_test"])

def tensors():
    return [[torch.from_numpy(each) for each in pair] for pair in pairs()]

def three():
    train, test = pairs()
    return train, test, test

def fails():
    return parts["x_trian"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(path=npz(tmp_path, **arrays())), encoding="utf-8")
    return path


@pytest.mark.parametrize("function", ["by_name", "pairs", "tensors"])
def test_what_a_function_may_return(function: str, file: Path) -> None:
    own = prepared(f"{file}:{function}", file.parent)
    assert own.name == f"mine-{function}"
    assert own.sha256 == prepared(str(file.parent / "numbers.npz"), file.parent).sha256


def test_three_pairs_are_train_validation_and_test(file: Path) -> None:
    own = prepared(f"{file}:three", file.parent)
    assert (own.train, own.validation, own.test) == (24, 12, 12)


def test_a_module_is_named_by_dots(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(file.parent))
    assert prepared("mine:pairs", file.parent).name == "mine-pairs"
    sys.modules.pop("mine")
    with pytest.raises(DataError, match=r"there is no module nowhere here; a file is \./nowhere\.py:FUNCTION"):
        prepared("nowhere:pairs", file.parent)


def test_what_it_raises_is_said(file: Path) -> None:
    with pytest.raises(DataError, match=r"mine\.py:fails failed: KeyError: 'x_trian'"):
        prepared(f"{file}:fails", file.parent)
