"""Noise, weather and compression of images (N, H, W, C) in [0, 1]."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from robench_fire.data.corruptions.blurs import Images, sampled, streaked, zoomed

GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue


def gaussian_noise(x: Images, deviation: float, rng: np.random.Generator) -> Images:
    """Normal noise."""
    return x + rng.normal(0, deviation, x.shape)


def shot_noise(x: Images, photons: float, rng: np.random.Generator) -> Images:
    """Poisson noise of so many ``photons`` for a white pixel."""
    return np.asarray(rng.poisson(x * photons) / photons)


def impulse_noise(x: Images, share: float, rng: np.random.Generator) -> Images:
    """Salt and pepper: a ``share`` of the values becomes 0 or 1."""
    drawn = rng.random(x.shape)
    return np.where(drawn < share, np.where(drawn < share / 2, 0.0, 1.0), x)


def snow(x: Images, strength: tuple[float, ...], rng: np.random.Generator) -> Images:
    """Flakes that fall in streaks, over an image that is paler; for ``strength`` see names.STRENGTHS."""
    mean, deviation, size, least, radius, sigma, share = strength
    falling, blowing = rng.spawn(2)
    flakes = zoomed(falling.normal(mean, deviation, (*x.shape[:3], 1)), size)
    flakes = np.where(flakes < least, 0, np.clip(flakes, 0, 1))
    flakes = streaked(flakes, int(radius), sigma, blowing.uniform(-135, -45, len(x)))
    grey = x @ GREY[:, None] if x.shape[3] == 3 else x
    pale = share * x + (1 - share) * np.maximum(x, grey * 1.5 + 0.5)
    return np.asarray(pale + flakes + np.rot90(flakes, 2, axes=(1, 2)))


def fog(x: Images, strength: tuple[float, float], rng: np.random.Generator) -> Images:
    """Clouds of every size over an image that keeps its range; ``strength``: how thick, how much thinner fine ones."""
    thick, decay = strength
    count, height, width, _ = x.shape
    clouds, levels = np.zeros((count, height, width, 1)), int(np.ceil(np.log2(max(height, width)))) + 1
    for level, stream in enumerate(rng.spawn(levels)):
        cells = 2**level
        rows, columns = np.meshgrid(np.linspace(0, cells, height), np.linspace(0, cells, width), indexing="ij")
        coarse = stream.uniform(-1, 1, (count, cells + 1, cells + 1, 1))
        clouds += sampled(coarse, rows[None], columns[None]) / decay**level
    clouds -= clouds.min(axis=(1, 2, 3), keepdims=True)
    clouds /= clouds.max(axis=(1, 2, 3), keepdims=True)
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray((x + thick * clouds) * brightest / (brightest + thick))


def brightness(x: Images, added: float, rng: np.random.Generator) -> Images:
    """The value of HSV raised: hue and saturation stay, and so do the ratios of red, green and blue."""
    value = x.max(axis=3, keepdims=True)
    brighter = np.clip(value + added, 0, 1)
    return np.asarray(np.where(value > 0, x * brighter / np.where(value > 0, value, 1), brighter))


def contrast(x: Images, left: float, rng: np.random.Generator) -> Images:
    """Nearer to each channel's mean."""
    mean = x.mean(axis=(1, 2), keepdims=True)
    return np.asarray((x - mean) * left + mean)


def pixelate(x: Images, left: float, rng: np.random.Generator) -> Images:
    """Fewer, larger pixels; ``left``: as a share of the side."""

    def coarser(picture: Image.Image) -> Image.Image:
        width, height = picture.size
        small = picture.resize((int(width * left), int(height * left)), Image.Resampling.BOX)
        return small.resize((width, height), Image.Resampling.BOX)

    return _pictured(x, coarser)


def jpeg_compression(x: Images, quality: int, rng: np.random.Generator) -> Images:
    """Written as a JPEG and read again."""

    def again(picture: Image.Image) -> Image.Image:
        held = io.BytesIO()
        picture.save(held, "JPEG", quality=quality)
        return Image.open(held)

    return _pictured(x, again)


def _pictured(x: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """What becomes of each image as a picture of Pillow's."""
    grey = x.shape[3] == 1
    pictures = np.rint(x * 255).astype(np.uint8)
    found = [np.asarray(change(Image.fromarray(each[..., 0] if grey else each))) for each in pictures]
    return np.stack(found).reshape(x.shape) / 255
