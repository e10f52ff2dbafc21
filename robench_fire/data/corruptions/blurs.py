"""Blurs of images (N, H, W, C) in [0, 1], and what bends them: where each pixel is taken from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Images = NDArray[np.float64]


def sampled(x: Images, rows: NDArray[Any], columns: NDArray[Any]) -> Images:
    """The images at these places (N or 1, H, W), in pixels from the upper left; beyond it the edge goes on."""
    image = np.arange(len(x))[:, None, None]
    places = np.broadcast_arrays(image, rows, columns)
    found = [ndimage.map_coordinates(x[..., each], places, order=1, mode="nearest") for each in range(x.shape[3])]
    return np.stack(found, axis=-1)


def grid(x: Images) -> tuple[NDArray[Any], NDArray[Any]]:
    """(1, H, W) the row and the column of each pixel."""
    rows, columns = np.indices(x.shape[1:3], dtype=float)
    return rows[None], columns[None]


def zoomed(x: Images, factor: float) -> Images:
    """The middle of the images, ``factor`` times as large."""
    rows, columns = ((each - (n - 1) / 2) / factor + (n - 1) / 2 for each, n in zip(grid(x), x.shape[1:3], strict=True))
    return sampled(x, rows, columns)


def streaked(x: Images, radius: int, sigma: float, degrees: NDArray[Any]) -> Images:
    """Each image smeared in its direction (N,), in ``degrees`` from the right, as by a camera that starts to move."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    steps, weights = steps[weights > 1e-3], weights[weights > 1e-3]  # the rest is slow, and not seen
    (rows, columns), angle = grid(x), np.deg2rad(degrees)[:, None, None]
    smeared = np.zeros_like(x)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        smeared += weight * sampled(x, rows + step * np.sin(angle), columns + step * np.cos(angle))
    return smeared


def defocus_blur(x: Images, strength: tuple[float, float], rng: np.random.Generator) -> Images:
    """The mean over a disc; ``strength``: its radius, and the deviation that its edge is softened with."""
    radius, soft = strength
    across = np.arange(-np.ceil(radius) - 1, np.ceil(radius) + 2)
    disc = (across[:, None] ** 2 + across**2 <= radius**2).astype(float)
    kernel = ndimage.gaussian_filter(disc, soft, radius=1, mode="constant")
    return np.asarray(ndimage.correlate(x, (kernel / kernel.sum())[None, :, :, None], mode="mirror"))


def glass_blur(x: Images, strength: tuple[float, int, int], rng: np.random.Generator) -> Images:
    """Pixels change places with neighbours; ``strength``: a Gaussian blur before and after, how far, how often."""
    sigma, reach, times = strength
    x = ndimage.gaussian_filter(x, (0, sigma, sigma, 0))
    (count, height, width, _), image = x.shape, np.arange(len(x))
    moves = rng.integers(-reach, reach, (count, times, height, width, 2))  # the script's, whose end is excluded
    for time in range(times):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                other = image, row + moves[:, time, row, column, 0], column + moves[:, time, row, column, 1]
                x[image, row, column], x[other] = x[other], x[image, row, column]  # both are copies
    return np.asarray(ndimage.gaussian_filter(x, (0, sigma, sigma, 0)))


def motion_blur(x: Images, strength: tuple[int, float], rng: np.random.Generator) -> Images:
    """Smeared in a random direction within 45 degrees of the horizontal."""
    return streaked(x, *strength, rng.uniform(-45, 45, len(x)))


def zoom_blur(x: Images, largest: float, rng: np.random.Generator) -> Images:
    """The mean of the image and its zooms from 1 to ``largest``."""
    factors = np.arange(1, largest + 0.005, 0.01)
    return (x + sum(zoomed(x, factor) for factor in factors)) / (len(factors) + 1)


def elastic_transform(x: Images, strength: tuple[float, float, float], rng: np.random.Generator) -> Images:
    """A random affine map and a smooth random displacement; ``strength``: as shares of the image's side.

    How far pixels are displaced before the displacement is smoothed, with which deviation, how far corners move.
    """
    (count, height, width, _), side = x.shape, min(x.shape[1:3])
    far, smooth, corners = (side * each for each in strength)
    placing, bending = rng.spawn(2)
    shift = bending.uniform(-1, 1, (count, height, width, 2))
    shift = far * ndimage.gaussian_filter(shift, (0, smooth, smooth, 0), mode="reflect", truncate=3)
    middle, arm = np.array([height // 2, width // 2]), side // 3
    corner = middle + arm * np.array([[1, 1], [-1, 1], [-1, -1]])
    moved = corner + placing.uniform(-corners, corners, (count, 3, 2))
    back = np.linalg.solve(
        np.concatenate([moved, np.ones((count, 3, 1))], axis=2), np.broadcast_to(corner, moved.shape)
    )
    places = np.stack(np.broadcast_arrays(*grid(x)), axis=-1) + shift
    found = np.einsum("nhwi,nij->nhwj", places, back[:, :2]) + back[:, None, None, 2]
    return sampled(x, found[..., 0], found[..., 1])
