"""The fifteen common corruptions and their strengths at severities 1 to 5. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS: Mapping[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""By their kind, as files of CIFAR-10-C are called."""
CORRUPTIONS = tuple(name for names in KINDS.values() for name in names)
SEVERITIES = (1, 2, 3, 4, 5)

STRENGTHS: Mapping[str, tuple[Any, ...]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),  # standard deviation
    "shot_noise": (500, 250, 100, 75, 50),  # photons of a white pixel
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),  # share of the values
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),  # radius of a disc, its softness
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),  # blur, reach, repetitions
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),  # radius, standard deviation
    "zoom_blur": (1.05, 1.10, 1.15, 1.20, 1.25),  # the largest of the zooms, which are a hundredth apart
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),  # mean and deviation of flakes, their size, threshold, radius and deviation of streaks, share of the image
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),  # thickness, how fast finer clouds get thinner
    "brightness": (0.05, 0.10, 0.15, 0.20, 0.30),  # added to the value of HSV
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # what is left of it
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    # as shares of the image's side: displacement, its smoothness, how far the corners move
    "pixelate": (0.95, 0.90, 0.85, 0.75, 0.65),  # what is left of the side
    "jpeg_compression": (80, 65, 58, 50, 40),  # quality
}  # fmt: skip
"""Of CIFAR-10-C, as its makers released them: weaker than those of ImageNet-C. Lengths are in pixels."""
MADE = tuple(name for name in CORRUPTIONS if name in STRENGTHS)
"""Those that can be made here: frost is photographs of it, laid over images."""
