"""Folders of class folders: what is read, and what is refused with the fix."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from own_images import class_folders, prepared
from PIL import Image

from robench_fire.data.own.dataset import load
from robench_fire.data.own.stored import facts_at, place_of
from robench_fire.errors import DataError


def refused(folder: Path, said: str, **asked: int) -> None:
    with pytest.raises(DataError, match=said):
        prepared(str(folder), folder.parent / "data", **asked)


def test_every_pixel_and_label_arrives(tmp_path: Path) -> None:
    own = prepared(class_folders(tmp_path / "numbers"), tmp_path)
    splits = load(own, tmp_path)
    names = json.loads((place_of(tmp_path, own.name, own.sha256) / "images.json").read_text())
    for part, split in zip(("train", "validation", "test"), splits, strict=True):
        assert len(names[part]) == len(split.labels) == getattr(own, part)
        for name, image, label in zip(names[part], split.images.numpy(), split.labels.tolist(), strict=True):
            with Image.open(tmp_path / "numbers" / name) as picture:
                assert (np.asarray(picture) == image[0]).all()
            assert own.class_names[label] == Path(name).parent.name
    assert (own.name, own.shape, own.num_classes, own.resize) == ("numbers", (1, 8, 8), 4, None)
    assert (own.train, own.validation, own.test) == (20, 4, 24)


def test_images_without_test_folder_are_parted_once_by_a_fixed_seed(tmp_path: Path) -> None:
    own = prepared(class_folders(tmp_path / "a" / "numbers", [""], each=10), tmp_path / "one")
    again = prepared(class_folders(tmp_path / "b" / "numbers", [""], each=10), tmp_path / "other")
    assert own == again
    assert (own.train, own.validation, own.test) == (28, 4, 8)
    facts = facts_at(place_of(tmp_path / "one", own.name, own.sha256))
    assert facts["split"].startswith("test: one in 5 of all, drawn by seed")
    assert facts["images_per_class"] == {f"digit-{label}": [7, 1, 2] for label in range(4)}


def test_validation_images_of_ones_own(tmp_path: Path) -> None:
    own = prepared(class_folders(tmp_path / "numbers", ["train", "valid", "test"]), tmp_path)
    assert (own.train, own.validation, own.test) == (24, 24, 24)


def test_without_a_test_folder_validation_images_are_tested_on(tmp_path: Path) -> None:
    own = prepared(class_folders(tmp_path / "numbers", ["train", "val"]), tmp_path)
    assert (own.train, own.validation, own.test) == (20, 4, 24)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    class_folders(tmp_path / "numbers", [""])
    (tmp_path / "numbers" / "digit-0").rename(tmp_path / "numbers" / "train")
    assert prepared(str(tmp_path / "numbers"), tmp_path).class_names == ("digit-1", "digit-2", "digit-3", "train")


def test_images_may_lie_deeper_and_beside_other_files(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    (folder / "train" / "digit-0" / "images").mkdir()
    (folder / "train" / "digit-0" / "000.png").rename(folder / "train" / "digit-0" / "images" / "first.PNG")
    (folder / "train" / "digit-0" / "boxes.txt").write_text("0 0 8 8")
    own = prepared(str(folder), tmp_path)
    assert own.train + own.validation == 24
    assert facts_at(place_of(tmp_path, own.name, own.sha256))["ignored_files"] == 1


def test_two_classes_are_enough(tmp_path: Path) -> None:
    assert prepared(class_folders(tmp_path / "numbers", classes=2), tmp_path).num_classes == 2
    class_folders(tmp_path / "one", classes=1)
    refused(tmp_path / "one", "train/ holds 1 class folder; lay each class's images in a folder of its own")


def test_a_test_folder_needs_the_classes_of_train(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    (folder / "test" / "digit-3").rename(folder / "test" / "digit-9")
    refused(folder, "test has digit-9, which train/ has not and lacks digit-3; every part needs the same class folders")


def test_folders_that_are_neither(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    (folder / "unlabelled").mkdir()
    refused(folder, r"has class folders in train/, and also unlabelled; move what is no part \(train, test, val\) out")
    (folder / "test").rename(folder / "unlabelled" / "test")
    refused(folder, "has class folders in train/, and also unlabelled")  # two folders that are no classes
    class_folders(tmp_path / "twice", ["train", "val", "valid"])
    refused(tmp_path / "twice", "has val and valid; keep one of them")
    for part in ("train", "test"):
        (tmp_path / "flat" / part).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "flat" / part / "1.png")
    refused(
        tmp_path / "flat", "has test, train without class folders in train/; lay each class's images in a folder of"
    )


def test_few_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    (folder / "train" / "digit-0" / "000.png").write_bytes(b"no picture")
    own = prepared(str(folder), tmp_path)
    assert own.train + own.validation == 23
    (left,) = facts_at(place_of(tmp_path, own.name, own.sha256))["skipped"]
    assert left.startswith("train/digit-0/000.png (cannot identify image file")


def test_a_picture_that_ends_too_early_is_left_out_too(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    path = folder / "train" / "digit-0" / "000.png"
    path.write_bytes(path.read_bytes()[:60])
    own = prepared(str(folder), tmp_path)
    assert own.train + own.validation == 23


def test_a_class_needs_an_image_that_can_be_read(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers", ["train", "val", "test"]))
    (folder / "train" / "digit-9").mkdir()
    (folder / "train" / "digit-9" / "1.png").write_bytes(b"no picture")
    for part in ("val", "test"):
        (folder / part / "digit-9").mkdir()
        Image.new("L", (8, 8)).save(folder / part / "digit-9" / "1.png")
    refused(folder, "no training image of digit-9 can be read; add some")


def test_many_unreadable_images_are_refused(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    for number in range(3):
        (folder / "train" / "digit-0" / f"00{number}.png").write_bytes(b"no picture")
    refused(folder, r"3 of 48 images cannot be read: train/digit-0/000\.png .*; mend or remove them")


def test_sizes_that_differ_need_a_word(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers", size=40))
    Image.new("L", (60, 50)).save(folder / "train" / "digit-0" / "large.png")
    refused(
        folder, r"has images of 40 x 40 \(48\), 60 x 50 \(1\); they must be square .*: say --resize N, with N from 28"
    )
    own = prepared(str(folder), tmp_path, resize=32)
    assert (own.shape, own.resize) == ((1, 32, 32), 32)
    class_folders(tmp_path / "tiny", size=12)
    refused(tmp_path / "tiny", r"has images of 12 x 12 \(48\)")
    refused(tmp_path / "tiny", "--resize 300: expected 28 to 224 pixels, or 8", resize=300)


def test_grey_images_among_colour_ones_need_a_word(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers", mode="RGB"))
    assert prepared(str(folder), tmp_path).shape == (3, 8, 8)
    Image.new("L", (8, 8)).save(folder / "train" / "digit-0" / "grey.png")
    refused(folder, r"has 1 grey images and 48 in colour; say --channels 3 \(grey ones become colour\)")
    assert prepared(str(folder), tmp_path, channels=3).shape == (3, 8, 8)
    assert prepared(str(folder), tmp_path, channels=1).shape == (1, 8, 8)
    refused(folder, r"--channels 2: expected 1 \(grey\) or 3 \(colour\)", channels=2)


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    Image.fromarray(np.full((8, 8), 3000, np.uint16)).save(folder / "train" / "digit-0" / "deep.png")
    refused(folder, "has 1 images of mode I;16; save them with 8 bits a channel")


def test_a_link_that_leads_back_adds_nothing(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    (folder / "train" / "digit-0" / "loop").symlink_to(folder / "train")
    assert prepared(str(folder), tmp_path).train == 20


def test_a_picture_is_one_by_its_content_too(tmp_path: Path) -> None:
    """Pillow would read PostScript under any name, by another program."""
    folder = Path(class_folders(tmp_path / "numbers"))
    drawn = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    (folder / "train" / "digit-0" / "drawn.png").write_bytes(drawn)
    own = prepared(str(folder), tmp_path)
    assert own.train == 20
    assert "drawn.png" in json.dumps(facts_at(place_of(tmp_path, own.name, own.sha256)))  # named among those left out


def test_a_name_that_is_no_text_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    os.rename(folder / "train" / "digit-0" / "000.png", os.fsencode(folder / "train" / "digit-0") + b"/caf\xe9.png")
    refused(folder, r"caf\\xe9.png' is no UTF-8, the encoding of names; rename it")
