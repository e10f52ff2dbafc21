"""Corrupted images made here, of any small images: not those of the official files, but with their strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robench_fire.data.corruptions import blurs, pixels
from robench_fire.data.corruptions.names import MADE, SEVERITIES, STRENGTHS
from robench_fire.devices.random_streams import derive
from robench_fire.errors import UsageError, unknown

BLOCK = 500  # images that share a stream of random numbers, so that the memory holds them
SMALLEST = 8  # pixels
HOW: Mapping[str, Callable[[blurs.Images, Any, np.random.Generator], blurs.Images]] = {
    name: getattr(pixels, name, None) or getattr(blurs, name) for name in MADE
}


def corrupted(images: Tensor, name: str, severity: int, seed: int = 0) -> Tensor:
    """Images (N, C, H, W) uint8 under a corruption of names.MADE, of the same shape and type.

    The same ones for the same seed, and the first of them the same whatever N is.

    Raises:
        UsageError: for a name or a severity that there is not, or images too small to bend and blur.
    """
    if name not in HOW:
        raise UsageError(unknown("corruption", name, MADE))
    if severity not in SEVERITIES:
        raise UsageError(f"severity {severity}: choose 1 to 5")
    if min(images.shape[2:]) < SMALLEST:
        height, width = images.shape[2:]
        raise UsageError(f"images of {height} x {width}: corruptions are made of {SMALLEST} x {SMALLEST} or more")
    blocks = [
        _block(part.permute(0, 2, 3, 1).numpy(), name, severity, derive(seed, name, severity, number))
        for number, part in enumerate(images.cpu().split(BLOCK))
    ]
    return torch.from_numpy(np.concatenate(blocks)).permute(0, 3, 1, 2).contiguous()


def _block(images: Any, name: str, severity: int, seed: int) -> Any:
    """Random numbers are drawn image by image, so that one more image changes none of another's."""
    found = HOW[name](images / 255, STRENGTHS[name][severity - 1], np.random.default_rng(seed))
    return np.rint(np.clip(found, 0, 1) * 255).astype(np.uint8)
