"""Reading a user's images once: into arrays that are mapped from the disk ever after."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from robench_fire.data.own import arrays, class_folders, functions, hugging_face, pictures, stored
from robench_fire.data.own.parts import Divided, Found, divided
from robench_fire.data.own.sources import FORMAT, Source, signature
from robench_fire.errors import DataError
from robench_fire.files import as_json
from robench_fire.problem.own_data import OwnData, own_data
from robench_fire.progress import Report

HALF = ".preparing-"
READERS: dict[str, Callable[[Source], Found]] = {
    "folder": lambda source: class_folders.read(Path(os.path.abspath(source.path or ""))),
    "npz": lambda source: arrays.from_npz(source.path or Path(source.place)),
    "function": functions.read,
    "hub": hugging_face.read,
}


def prepare(
    source: Source, folder: Path, report: Report, resize: int | None = None, channels: int | None = None,
    anew: bool = False,
) -> OwnData:  # fmt: skip
    """A source's images in the data folder; read only if something about them has changed, or they are not there.

    ``resize``: the side that pictures of other sizes are brought to. ``channels``: 1 or 3, where pictures are of both
    kinds. ``anew``: read them whatever is known, as of a function or a name at Hugging Face nothing is.

    Raises:
        DataError: naming what is wrong with the source, and the fix.
    """
    pictures.check_asked(resize, channels)
    own = folder / stored.FOLDER / source.name
    asked = {"resize": resize, "channels": channels}
    if not anew and (known := stored.remembered(folder, source.name, signature(source, asked))):
        return known  # also where the data folder may not be written
    try:
        own.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise DataError(f"{folder} cannot be the data folder: {fault.strerror}; choose another --data-dir") from None
    with filelock.FileLock(own / ".lock"):  # of several processes one reads them
        now = signature(source, asked)
        known = None if anew else stored.remembered(folder, source.name, now)
        if known is None:
            known = _prepared(source, own, report, resize, channels)
            stored.remember(folder, source.name, now, known.sha256)
    return known


def _prepared(source: Source, own: Path, report: Report, resize: int | None, channels: int | None) -> OwnData:
    report("listing", 0, 1, source.text)
    for left in own.glob(f"{HALF}*"):  # of a process that was killed: who is here holds the lock
        shutil.rmtree(left, ignore_errors=True)
    found = READERS[source.kind](source)
    parts = divided(found.parts)
    total = sum(len(part.labels) for _, part in parts.each())
    survey = pictures.surveyed(parts, lambda done, total: report("sizes", done, total, "images"))
    pictures.check_unreadable(source.text, survey.unreadable, total)
    depth = pictures.channels_of(source.text, survey.modes, channels)
    side = pictures.side_of(source.text, survey.sizes, resize)
    with tempfile.TemporaryDirectory(dir=own, prefix=HALF) as scratch:
        made = _Prepared(Path(scratch), found, parts, (depth, side, side))
        made.write(total, lambda done, total: report("images", done, total, f"{side} x {side}"))
        pictures.check_unreadable(source.text, made.skipped, total)
        made.check_classes(source.text)
        facts = made.facts(source.name, None if set(survey.sizes) == {(side, side)} else resize) | {
            "source": os.path.abspath(source.path) if source.path else source.text, "kind": source.kind,
            "split": parts.how, "images_per_class": made.per_class(), "skipped": made.skipped,
            "test_images_in_train": made.shared(),
            "ignored_files": found.ignored, "modes": dict(survey.modes),
        }  # fmt: skip
        (made.folder / stored.FACTS).write_text(as_json(facts), encoding="utf-8")
        place = own / facts["sha256"][:16]
        if place.exists() and not (place / stored.FACTS).exists():
            raise DataError(f"{place} has no {stored.FACTS}; move it away and run the same command again")
        if not place.exists():
            os.rename(made.folder, place)
    result = own_data(facts)
    assert result is not None
    return result


class _Prepared:
    """The arrays in a folder that nobody else sees yet."""

    def __init__(self, scratch: Path, found: Found, parts: Divided, shape: tuple[int, int, int]) -> None:
        self.folder = scratch / "prepared"
        self.folder.mkdir()
        self.found, self.parts, self.shape = found, parts, shape
        self.skipped: list[str] = []
        self.labels: dict[str, NDArray[np.int64]] = {}
        self.seen: dict[str, list[bytes]] = {name: [] for name in stored.PARTS}  # what tells images apart
        self.levels = np.zeros((shape[0], 256), np.int64)  # of training pixels, by channel
        self.digest = hashlib.sha256(json.dumps([FORMAT, shape, found.class_names]).encode())

    def write(self, total: int, told: pictures.Told) -> None:
        """Every part's images and labels, and what each image is called."""
        done, kept_names = 0, {}
        for name, part in self.parts.each():
            kept: list[int] = []
            with open(self.folder / f"{name}.images.npy", "wb") as file:
                begin = _header(file, self.shape, 0)
                drawn = pictures.mapped(part, lambda picture: pictures.pixels(picture, self.shape[0], self.shape[1]))
                for number, pixels in enumerate(drawn):
                    if isinstance(pixels, str):
                        self.skipped.append(f"{part.names[number]} ({pixels})")
                    else:
                        self._add(file, name, pixels)
                        kept.append(number)
                    told(done := done + 1, total)
                end = _header(file, self.shape, len(kept))
                assert end == begin
            self.labels[name] = part.labels[kept]
            self.digest.update(self.labels[name].tobytes())
            np.save(self.folder / f"{name}.labels.npy", self.labels[name], allow_pickle=False)
            kept_names[name] = [part.names[number] for number in kept]
        (self.folder / "images.json").write_text(as_json(kept_names), encoding="utf-8")

    def _add(self, file: io.BufferedWriter, part: str, pixels: NDArray[np.uint8]) -> None:
        block = pixels.tobytes()
        file.write(block)
        self.digest.update(block)
        self.seen[part].append(hashlib.blake2b(block, digest_size=16).digest())
        if part == "train":
            for channel, own in enumerate(pixels):
                self.levels[channel] += np.bincount(own.ravel(), minlength=256)

    def facts(self, name: str, resize: int | None) -> dict[str, Any]:
        """What a plan says of the images."""
        share = self.levels / self.levels.sum(1, keepdims=True)
        levels = np.arange(256) / 255
        mean = share @ levels
        std = np.sqrt((share * (levels - mean[:, None]) ** 2).sum(1)).clip(1e-3)  # images may be of one colour
        counts = {part: len(labels) for part, labels in self.labels.items()}
        own = OwnData(
            name=name, shape=self.shape, num_classes=len(self.found.class_names), class_names=self.found.class_names,
            mean=tuple(round(float(each), 4) for each in mean), std=tuple(round(float(each), 4) for each in std),
            sha256=self.digest.hexdigest(), resize=resize, **counts,
        )  # fmt: skip
        return {"format": FORMAT, **asdict(own)}

    def shared(self) -> int:
        """How many test images are, pixel for pixel, training or validation images too."""
        known = {*self.seen["train"], *self.seen["validation"]}
        return sum(each in known for each in self.seen["test"])

    def check_classes(self, where: str) -> None:
        """Refuse a class whose only training images cannot be read."""
        if empty := [name for name, counts in self.per_class().items() if not counts[0]]:
            raise DataError(f"{where}: no training image of {', '.join(empty[:5])} can be read; add some")

    def per_class(self) -> dict[str, list[int]]:
        """Images of each class in training, validation and test."""
        classes = self.found.class_names
        counts = np.stack([np.bincount(self.labels[part], minlength=len(classes)) for part in stored.PARTS], 1)
        return dict(zip(classes, counts.tolist(), strict=True))


def _header(file: io.BufferedWriter, shape: tuple[int, int, int], count: int) -> int:
    """At the beginning of an .npy, up to where images begin; numpy leaves room in it for another number of them."""
    file.seek(0)
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)})
    return file.tell()
