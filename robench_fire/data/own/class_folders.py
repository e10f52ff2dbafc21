"""A folder of class folders, with parts above them or without."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from robench_fire.data.own.parts import PART_NAMES, Found, Part
from robench_fire.data.own.sources import walked
from robench_fire.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""What these may hold. Pillow goes by content, and has other programs read others, Ghostscript EPS."""


def read(root: Path) -> Found:
    """The images below class folders, by part; classes are numbered in the order of their names.

    Raises:
        DataError: for folders that are none of both kinds, a class without an image, or other classes in one part.
    """
    names = _folders(root)
    if "train" in names and _folders(root / "train"):
        given = _in_parts(root, names)
    elif names and set(names) <= set(PART_NAMES):
        where = f"{root} has {_some(names)} without class folders in train/"
        raise DataError(f"{where}; lay each class's images in a folder of its own, as train/cat")
    else:  # which may have a class called train
        given = {"train": _listed(root, root)}
    classes = list(next(iter(given.values())))
    if len(classes) < 2:
        where = "train/" if len(given) > 1 else ""
        inside = f"{len(classes)} class folder{'s' * (len(classes) != 1)}"
        raise DataError(f"{root}/{where} holds {inside}; lay each class's images in a folder of its own, two at least")
    parts = {PART_NAMES[name]: _part(root, list(each.values())) for name, each in given.items()}
    kept = sum(len(each.labels) for each in parts.values())
    return Found(tuple(classes), parts, sum(1 for _ in walked(root)) - kept)


def _in_parts(root: Path, names: list[str]) -> dict[str, dict[str, list[str]]]:
    """By part and class, the paths of images."""
    if others := sorted(set(names) - set(PART_NAMES)):
        fix = "move what is no part (train, test, val) out of it"
        raise DataError(f"{root} has class folders in train/, and also {_some(others)}; {fix}")
    if len({PART_NAMES[name] for name in names}) < len(names):
        raise DataError(f"{root} has {' and '.join(sorted(set(names) - {'train', 'test'}))}; keep one of them")
    if len(names) == 1:
        raise DataError(f"{root} has train/ and no test/; add it, or lay its class folders in {root} itself")
    given = {name: _listed(root / name, root) for name in names}
    _same_classes(root, given)
    return given


def _folders(root: Path) -> list[str]:
    return sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))


def _listed(part: Path, root: Path) -> dict[str, list[str]]:
    """By class, the paths of its images, at any depth, below ``root``."""
    found = {}
    for name in _folders(part):
        files = (each for each in walked(part / name) if not each.name.startswith("."))
        found[name] = sorted(str(each.relative_to(root)) for each in files if each.suffix.lower() in ENDINGS)
        for each in found[name]:
            _named(each)
        if not found[name]:
            kinds = ", ".join(each.removeprefix(".") for each in ENDINGS)
            raise DataError(f"{part / name} holds no image ({kinds}); add some, or remove the folder")
    return found


def _named(path: str) -> None:
    """Names are kept in JSON, which is UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(f"{os.fsencode(path)!r} is no UTF-8, the encoding of names; rename it") from None


def _same_classes(root: Path, given: dict[str, dict[str, list[str]]]) -> None:
    for name, each in given.items():
        more, less = (sorted(set(one) - set(other)) for one, other in ((each, given["train"]), (given["train"], each)))
        if more or less:
            said = [f"has {_some(more)}, which train/ has not"] * bool(more)
            said += [f"lacks {_some(less)}"] * bool(less)
            raise DataError(f"{root / name} {' and '.join(said)}; every part needs the same class folders")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _part(root: Path, by_class: list[list[str]]) -> Part:
    labels = np.repeat(np.arange(len(by_class), dtype=np.int64), [len(each) for each in by_class])
    names = [name for each in by_class for name in each]
    return Part(labels, names, partial(_opened, root, names))


def _opened(root: Path, names: list[str], number: int) -> Image.Image:
    return Image.open(root / names[number], formats=FORMATS)
