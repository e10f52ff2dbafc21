"""Corrupted images made here: stronger with severity, the same again, of CIFAR-10-C's strengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robench_fire.data.corruptions import blurs, pixels
from robench_fire.data.corruptions.made import corrupted
from robench_fire.data.corruptions.names import CORRUPTIONS, MADE, SEVERITIES, STRENGTHS
from robench_fire.datasets import digits
from robench_fire.errors import UsageError

TINY = digits.DATASET.splits(Path()).test.images[:40]
LARGE = nn.functional.interpolate(TINY[:25].float(), (32, 32), mode="bilinear").to(torch.uint8)
COLOUR = torch.cat([LARGE, LARGE // 2, LARGE // 3], dim=1)
UNEVEN = {"glass_blur", "snow", "pixelate", "elastic_transform"}
"""Whose five strengths trade several things off, or are sizes that a few pixels round."""


def distances(images: Tensor, name: str) -> list[float]:
    """How far pixels are moved at each severity, in the mean."""
    return [(corrupted(images, name, each).float() - images.float()).abs().mean().item() for each in SEVERITIES]


def test_there_are_fifteen_and_fourteen_are_made() -> None:
    assert len(CORRUPTIONS) == 15
    assert set(CORRUPTIONS) - set(MADE) == {"frost"}
    assert all(len(STRENGTHS[name]) == len(SEVERITIES) for name in MADE)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("images", [TINY, COLOUR], ids=["8x8 grey", "32x32 colour"])
def test_it_is_stronger_with_severity(name: str, images: Tensor) -> None:
    found = distances(images, name)
    assert min(found) > 0.1
    if name not in UNEVEN:
        assert found == sorted(found) or name == "motion_blur"  # whose fourth streak is longer, not wider
    if name != "elastic_transform":  # less is turned, and more is bent
        assert found[4] > found[0]


def test_elastic_images_are_less_turned_and_more_bent() -> None:
    displaced, smooth, corners = zip(*STRENGTHS["elastic_transform"], strict=True)
    assert list(corners) == sorted(corners, reverse=True)
    assert list(displaced) == sorted(displaced)
    assert list(smooth[1:]) == sorted(smooth[1:], reverse=True)


@pytest.mark.parametrize("name", MADE)
def test_it_is_the_same_again_and_does_not_depend_on_how_many_there_are(name: str) -> None:
    found = corrupted(COLOUR[:8], name, 3, seed=4)
    assert (found.dtype, found.shape, found.is_contiguous()) == (torch.uint8, (8, 3, 32, 32), True)
    assert torch.equal(found, corrupted(COLOUR[:8], name, 3, seed=4))
    assert torch.equal(found[:5], corrupted(COLOUR[:5], name, 3, seed=4))


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "fog", "snow", "elastic_transform"])
def test_seeds_and_images_differ(name: str) -> None:
    twice = COLOUR[:1].repeat(2, 1, 1, 1)
    found = corrupted(twice, name, 5)
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found, corrupted(twice, name, 5, seed=1))


def test_images_are_left_alone() -> None:
    before = COLOUR.clone()
    for name in MADE:
        corrupted(COLOUR[:4], name, 5)
    assert torch.equal(before, COLOUR)


def test_other_names_severities_and_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown corruption 'fogg'"):
        corrupted(TINY, "fogg", 1)
    with pytest.raises(UsageError, match="severity 6: choose 1 to 5"):
        corrupted(TINY, "fog", 6)
    with pytest.raises(UsageError, match="images of 4 x 8: corruptions are made of 8 x 8 or more"):
        corrupted(TINY[:, :, :4], "fog", 1)


GREY = np.full((200, 16, 16, 3), 0.5)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_parameters(severity: int) -> None:
    deviation, photons, share = (STRENGTHS[f"{each}_noise"][severity - 1] for each in ("gaussian", "shot", "impulse"))
    assert (pixels.gaussian_noise(GREY, deviation, RNG) - GREY).std() == pytest.approx(deviation, rel=0.02)
    assert pixels.shot_noise(GREY, photons, RNG).var() == pytest.approx(0.5 / photons, rel=0.03)
    struck = pixels.impulse_noise(GREY, share, RNG)
    assert (struck != 0.5).mean() == pytest.approx(share, rel=0.06)
    assert (struck == 1).sum() == pytest.approx((struck == 0).sum(), rel=0.15)


def test_contrast_and_brightness_have_their_parameters() -> None:
    x = RNG.random((5, 8, 8, 3)) / 2 + 0.1
    assert pixels.contrast(x, 0.3, RNG).std(axis=(1, 2)) == pytest.approx(0.3 * x.std(axis=(1, 2)))
    brighter = pixels.brightness(x, 0.2, RNG)
    assert brighter.max(axis=3) == pytest.approx(x.max(axis=3) + 0.2)
    assert brighter[..., 0] / brighter[..., 1] == pytest.approx(x[..., 0] / x[..., 1])  # hue and saturation
    assert pixels.brightness(np.zeros((1, 2, 2, 3)), 0.2, RNG) == pytest.approx(0.2)  # black has neither


def test_blurs_keep_what_is_even_and_spread_a_point() -> None:
    point = np.zeros((1, 15, 15, 1))
    point[0, 7, 7] = 1
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"):
        blur = getattr(blurs, name)
        assert blur(GREY[:2].copy(), STRENGTHS[name][4], RNG) == pytest.approx(0.5)
    disc = blurs.defocus_blur(point, (1.5, 0.1), RNG)
    assert (disc > 0.05).sum() == 9
    assert disc.sum() == pytest.approx(1)
    streak = blurs.streaked(point, 3, 2.0, np.array([0.0]))[0, ..., 0]
    assert streak[7].sum() == pytest.approx(1)  # along the row
    assert np.count_nonzero(streak) == 7
