"""Independent random streams from one seed."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *labels: str | int) -> int:
    """A 63-bit seed for the stream named by ``labels``; changing one stream does not disturb another.

    Streams are named by epoch or block as well, so that resuming needs no saved generator state.
    """
    text = "/".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(device: torch.device | str, seed: int, *labels: str | int) -> torch.Generator:
    """A generator on ``device`` at the beginning of the stream named by ``labels``."""
    return torch.Generator(device).manual_seed(derive(seed, *labels))
