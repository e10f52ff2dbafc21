"""Images are read once, appear whole, and are read again if something about them has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_images import arrays, class_folders, npz, prepared
from PIL import Image

from robench_fire.data.own import pictures, stored
from robench_fire.data.own.dataset import load
from robench_fire.data.own.parts import held_out
from robench_fire.data.own.preparing import prepare
from robench_fire.data.own.sources import is_own, signature, source_of
from robench_fire.errors import DataError, UsageError


def stages(text: str, data: Path, **asked: Any) -> list[str]:
    """What was reported while a source was prepared."""
    heard: list[str] = []
    prepare(source_of(text), data, lambda stage, *_: heard.append(stage), **asked)
    return list(dict.fromkeys(heard))


def test_the_second_time_nothing_is_read(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "numbers")
    assert stages(folder, tmp_path) == ["listing", "sizes", "images"]
    assert stages(folder, tmp_path) == []
    assert stages(folder, tmp_path, channels=3) != []
    assert stages(folder, tmp_path, anew=True) != []


def test_what_has_changed_is_read_again(tmp_path: Path) -> None:
    folder = Path(class_folders(tmp_path / "numbers"))
    own, path = prepared(str(folder), tmp_path), folder / "train" / "digit-0" / "000.png"
    os.utime(path, ns=(1, 1))
    assert stages(str(folder), tmp_path) != []
    assert prepared(str(folder), tmp_path) == own  # its pixels are what they were
    Image.new("L", (8, 8)).save(path)
    assert prepared(str(folder), tmp_path).sha256 != own.sha256
    assert load(own, tmp_path).train.labels.shape == (20,)  # for the runs that were trained on them


def test_where_images_come_from_is_not_part_of_them(tmp_path: Path) -> None:
    one, other = (class_folders(tmp_path / name / "numbers") for name in ("a", "b"))
    assert prepared(one, tmp_path / "data") == prepared(other, tmp_path / "elsewhere")


def test_a_size_that_all_have_is_no_resizing(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "numbers")
    assert prepared(folder, tmp_path, resize=8) == prepared(folder, tmp_path)


def test_images_that_break_off_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = class_folders(tmp_path / "numbers")
    monkeypatch.setattr(pictures, "pixels", lambda *_: (_ for _ in ()).throw(DataError("stop")))
    with pytest.raises(DataError, match="stop"):
        prepared(folder, tmp_path)
    assert [path.name for path in (tmp_path / "own" / "numbers").iterdir()] == [".lock"]
    monkeypatch.undo()
    assert prepared(folder, tmp_path).num_classes == 4


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "own" / "numbers" / ".preparing-killed").mkdir(parents=True)
    prepared(class_folders(tmp_path / "numbers"), tmp_path)
    assert list((tmp_path / "own" / "numbers").glob(".preparing-*")) == []


def test_test_images_that_are_trained_on_are_counted(tmp_path: Path) -> None:
    content = arrays()
    content["x_test"][:3] = content["x_train"][:3]
    own = prepared(npz(tmp_path, **content), tmp_path)
    assert stored.facts_at(stored.place_of(tmp_path, own.name, own.sha256))["test_images_in_train"] == 3
    own = prepared(npz(tmp_path, **arrays()), tmp_path)
    assert stored.facts_at(stored.place_of(tmp_path, own.name, own.sha256))["test_images_in_train"] == 0


def test_mean_and_std_are_those_of_the_training_images(tmp_path: Path) -> None:
    own = prepared(class_folders(tmp_path / "numbers", mode="RGB"), tmp_path)
    pixels = load(own, tmp_path).train.images.numpy() / 255
    assert own.mean == pytest.approx(pixels.mean((0, 2, 3)), abs=6e-5)
    assert own.std == pytest.approx(pixels.std((0, 2, 3)), abs=6e-5)


def test_arrays_are_mapped_and_not_read(tmp_path: Path) -> None:
    own = prepared(npz(tmp_path, **arrays()), tmp_path)
    images = load(own, tmp_path).train.images
    path = stored.place_of(tmp_path, own.name, own.sha256) / "train.images.npy"
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")
    assert images[-1, 0, 7, 7] == 7
    assert np.load(path, allow_pickle=False).shape == (20, 1, 8, 8)


def test_resizing_keeps_the_middle_of_the_longer_side() -> None:
    wide = Image.new("L", (80, 40), 10)
    wide.paste(200, (20, 0, 60, 40))
    assert (pictures.pixels(wide, 1, 28)[:, :, 1:-1] == 200).all()
    assert pictures.pixels(wide.convert("P"), 3, 28).shape == (3, 28, 28)


@pytest.mark.parametrize(("count", "classes"), [(1, 5), (10, 5), (17, 5), (3, 40)])
def test_held_out_images_are_of_every_class_and_leave_some(count: int, classes: int) -> None:
    labels = np.arange(100) % classes
    held = held_out(labels, count, 1)
    assert held.sum() == max(count, classes)
    assert (held == held_out(labels, count, 1)).all()
    per_class = np.bincount(labels[held], minlength=classes)
    assert per_class.min() >= 1
    assert per_class.max() - per_class.min() <= 1
    assert set(labels[~held]) == set(range(classes))


def test_the_last_image_of_a_class_is_not_held_out() -> None:
    assert held_out(np.array([0, 0, 0, 1, 2, 2]), 3, 1)[3].sum() == 0


@pytest.mark.parametrize(
    ("text", "own"),
    [("./mine", True), ("~/mine", True), ("a/b", True), (".", True), ("mine.npz", True), ("mine.py:load", True),
     ("package.module:load", True), ("hf:someone/name", True), ("digits", False), ("mydata", False)],
)  # fmt: skip
def test_sources_are_told_apart_by_their_text(text: str, own: bool) -> None:
    assert is_own(text) == own


def test_names_are_those_of_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my images.v2").mkdir()
    assert source_of("./my images.v2/").name == "my-images-v2"
    assert source_of(str(tmp_path / "my images.v2" / "..")).name == tmp_path.name.strip("-")
    assert source_of("hf:someone/numbers").name == "numbers"
    (tmp_path / "digits").mkdir()
    with pytest.raises(
        UsageError, match=r"\./digits: digits is what a bundled data set or .* is called; give yours another one"
    ):
        source_of("./digits")
    with pytest.raises(UsageError, match="imagenet is what"):
        source_of("hf:someone/imagenet")
    (tmp_path / "mine").symlink_to("digits")
    assert source_of("./mine").name == "mine"
    with pytest.raises(DataError, match="nowhere is not a folder of images"):
        source_of("./nowhere")
    with pytest.raises(UsageError, match=r"say which of its functions returns the images, as \./mine\.py:FUNCTION"):
        source_of("./mine.py")


def test_folders_of_one_name_are_two_sources(tmp_path: Path) -> None:
    """Also where files agree in names, sizes and times, as of two archives that were unpacked."""
    made = [npz(tmp_path / name, **arrays()) for name in ("v1", "v2") if (tmp_path / name).mkdir() is None]
    for path in made:
        os.utime(path, ns=(1, 1))
    signatures = {signature(source_of(path), {}) for path in made}
    assert len(signatures) == 2


def test_what_is_prepared_needs_no_folder_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = class_folders(tmp_path / "numbers")
    own = prepared(folder, tmp_path / "data")
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("nothing is to be written"))
    assert prepared(folder, tmp_path / "data") == own
