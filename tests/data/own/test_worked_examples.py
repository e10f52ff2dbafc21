"""The examples of docs/own-data.md, on small archives that are laid out as the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from own_images import few, prepared
from PIL import Image
from repository import ROOT
from scipy.io import savemat

from robench_fire.data.own.dataset import load
from robench_fire.datasets import digits

PAGE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
IMAGES, LABELS = few(digits.DATASET.splits(Path()).train, 5, 3)
COLOUR = np.repeat(IMAGES, 3, 3)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, code in EXAMPLES.items():
        Path(name).write_text(code, encoding="utf-8")


def picture(number: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(COLOUR[number]).save(path)


def test_digits_of_scikit_learn(tmp_path: Path) -> None:
    own = prepared("./mydata.py:load", tmp_path)
    assert (own.name, own.shape, own.num_classes) == ("mydata-load", (1, 8, 8), 10)
    assert own.train + own.validation + own.test == 1797


def test_svhn(tmp_path: Path) -> None:
    Path("svhn").mkdir()
    for name in ("train", "test"):
        said = np.where(LABELS == 0, 10, LABELS)[:, None]
        savemat(f"svhn/{name}_32x32.mat", {"X": COLOUR.transpose(1, 2, 3, 0), "y": said})
    test = load(prepared("./svhn.py:load", tmp_path), tmp_path).test
    assert sorted(test.labels.tolist()) == LABELS.tolist()
    for image, label in zip(test.images.numpy(), test.labels.tolist(), strict=True):
        assert label in LABELS[(COLOUR.transpose(0, 3, 1, 2) == image).all((1, 2, 3))]


def test_tiny_imagenet(tmp_path: Path) -> None:
    root, lines = Path("tiny-imagenet-200"), []
    for number, label in enumerate(LABELS):
        picture(number, root / "train" / f"n0{label}" / "images" / f"n0{label}_{number}.JPEG")
        picture(number, root / "val" / "images" / f"val_{number}.JPEG")
        picture(number, root / "test" / "images" / f"test_{number}.JPEG")
        lines.append(f"val_{number}.JPEG\tn0{label}\t0\t0\t8\t8\n")
        (root / "train" / f"n0{label}" / f"n0{label}_boxes.txt").touch()
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").touch()
    exec(EXAMPLES["tiny_imagenet.py"], {})
    own = prepared("./tiny-imagenet-200", tmp_path)
    assert (own.class_names, own.train + own.validation, own.test) == (("n00", "n01", "n02"), 15, 15)


def test_imagenet_100(tmp_path: Path) -> None:
    for number, label in enumerate(LABELS):
        for part in ("train", "val"):
            picture(number, Path("ILSVRC", part, f"n0{label}", f"{number}.JPEG"))
    Path("imagenet100.txt").write_text("n01\nn02\n")
    exec(EXAMPLES["imagenet100.py"], {})
    own = prepared("./imagenet-100", tmp_path)
    assert (own.name, own.class_names, own.test) == ("imagenet-100", ("n01", "n02"), 10)
