"""Masks of booleans as text: bits, deflated, in base 85."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def packed(mask: NDArray[Any]) -> str:
    """A mask (N,) as text; 10,000 images take at most 1.6 kB."""
    import numpy as np  # here and below, because it takes longer to import than `robench --help` to print

    return base64.b85encode(zlib.compress(np.packbits(mask.astype(bool)).tobytes(), 9)).decode()


def unpacked(text: str, length: int) -> NDArray[np.bool_]:
    """The mask (``length``,) that ``packed`` made the text of.

    Raises:
        ValueError: if it is no such text, or not of so many images.
    """
    import numpy as np

    reader = zlib.decompressobj()
    try:
        bits = reader.decompress(base64.b85decode(text), length // 8 + 2)  # a text of 1 kB may be of a megabyte
    except (ValueError, zlib.error) as fault:
        raise ValueError(f"not a packed mask: {fault}") from None
    if not reader.eof or len(bits) != -(-length // 8):
        raise ValueError(f"not a packed mask of {length} images")
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=length).astype(bool)
