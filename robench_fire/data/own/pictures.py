"""Pictures as they are: their sizes and colours, and their pixels in one size and number of channels."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robench_fire import stopping
from robench_fire.data.own.parts import Divided, Part
from robench_fire.errors import DataError

GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa")
LEAST, MOST, SMALL = 28, 224, 8  # pixels along a side that networks here are made for
AT_A_TIME = 256
TOLD = 5  # names in a message

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # Pillow's limit holds, and says so once

Told = Callable[[int, int], None]
"""(pictures done, pictures in all)."""


class Survey(NamedTuple):
    """How many pictures there are of each size (width, height) and mode; those that cannot be opened."""

    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    unreadable: list[str]


def surveyed(parts: Divided, told: Told) -> Survey:
    """What the pictures say of themselves before their pixels are read."""
    found = Survey(Counter(), Counter(), [])
    total, done = sum(len(part.labels) for _, part in parts.each()), 0
    for _, part in parts.each():
        for name, look in zip(part.names, mapped(part, _look), strict=True):
            if isinstance(look, str):
                found.unreadable.append(f"{name} ({look})")
            else:
                found.modes[look[0]] += 1
                found.sizes[look[1]] += 1
            done += 1
            told(done, total)
    return found


def _look(picture: Image.Image) -> tuple[str, tuple[int, int]]:
    return picture.mode, picture.size


def mapped(part: Part, function: Callable[[Image.Image], Any]) -> Iterator[Any]:
    """``function`` of each picture in order, in a few threads; in its place the reason why one cannot be read."""

    def of(number: int) -> Any:
        try:
            with part.picture(number) as picture:
                return function(picture)
        except DataError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            return "too many pixels"
        except Exception as fault:  # whatever Pillow raises on a broken file
            return str(fault).split("\n")[0].split(" '/")[0] if isinstance(fault, OSError) else type(fault).__name__

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for first in range(0, len(part.labels), AT_A_TIME):
            stopping.check()
            yield from list(threads.map(of, range(first, min(first + AT_A_TIME, len(part.labels)))))


def channels_of(where: str, modes: Counter[str], asked: int | None) -> int:
    """1 or 3: what all pictures have, or what the user asks for.

    Raises:
        DataError: for grey pictures among colour ones, or pixels of more than 8 bits.
    """
    if deep := sorted(set(modes) - {*GREY, *COLOUR}):
        raise DataError(f"{where} has {modes[deep[0]]:,} images of mode {deep[0]}; save them with 8 bits a channel")
    grey, colour = (sum(modes[mode] for mode in kind) for kind in (GREY, COLOUR))
    if grey and colour and asked is None:
        fix = "say --channels 3 (grey ones become colour) or --channels 1 (all become grey)"
        raise DataError(f"{where} has {grey:,} grey images and {colour:,} in colour; {fix}")
    return asked or (1 if grey else 3)


def side_of(where: str, sizes: Counter[tuple[int, int]], resize: int | None) -> int:
    """Pixels along each side of the prepared images.

    Raises:
        DataError: for pictures of several sizes, not square, or of a size that networks here are not made for.
    """
    if resize is not None:
        return resize
    if len(sizes) == 1:
        ((width, height),) = sizes
        if width == height and (LEAST <= width <= MOST or width == SMALL):
            return width
    listed = ", ".join(f"{width} x {height} ({count:,})" for (width, height), count in sizes.most_common(3))
    more = f" and {len(sizes) - 3:,} sizes more" if len(sizes) > 3 else ""
    fix = f"say --resize N, with N from {LEAST} to {MOST}, or {SMALL}"
    raise DataError(f"{where} has images of {listed}{more}; they must be square and of one size: {fix}")


def check_asked(resize: int | None, channels: int | None) -> None:
    """Refuse a size that networks here are not made for, and other channels than grey or colour.

    Raises:
        DataError: naming those they are made for.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"--channels {channels}: expected 1 (grey) or 3 (colour)")
    if resize is not None and not (LEAST <= resize <= MOST or resize == SMALL):
        raise DataError(f"--resize {resize}: expected {LEAST} to {MOST} pixels, or {SMALL}")


def pixels(picture: Image.Image, channels: int, side: int) -> NDArray[np.uint8]:
    """(C, side, side): the shorter side brought to it, by areas where that makes it smaller, and cut to the middle."""
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (side, side):
        short = min(picture.size)
        width, height = (max(side, round(each * side / short)) for each in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)  # which Pillow widens to the area
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    levels: NDArray[np.uint8] = np.asarray(picture, np.uint8).reshape(side, side, channels).transpose(2, 0, 1)
    return levels


def check_unreadable(where: str, unreadable: list[str], total: int) -> None:
    """Refuse a source of which more than one image in a hundred (but one at least) cannot be read.

    Raises:
        DataError: naming them.
    """
    if len(unreadable) > max(1, total // 100):
        more = f" and {len(unreadable) - TOLD:,} more" if len(unreadable) > TOLD else ""
        few = "only one in a hundred may be left out"
        raise DataError(
            f"{where}: {len(unreadable):,} of {total:,} images cannot be read: {', '.join(unreadable[:TOLD])}{more}; "
            f"mend or remove them, {few}"
        )
