"""Which examples a batch holds, and how their views are drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from robench_fire.data import batches as batches_module
from robench_fire.data.batches import augmented, batches, batches_per_epoch, to_float
from robench_fire.problem.recipe import Augment, Extra, Recipe

OFF = Augment(pad=0, flip=False)
CROP = Augment(pad=2, flip=False)
FLIP = Augment(pad=0, flip=True)
EVERYTHING = Augment(pad=4, flip=True, rotate=15.0, jitter=0.25)
labelled_counts = st.integers(1, 400)
batch_sizes = st.integers(1, 64)
shares = st.floats(0.02, 0.98)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recipe(batch_size: int, share: float | None = None) -> Recipe:
    extra = None if share is None else Extra(share=share)
    return Recipe(arch="any", attack=None, batch_size=batch_size, extra=extra)


def pictures(n: int, channels: int = 3, height: int = 8, width: int = 8) -> Tensor:
    return torch.randint(256, (n, channels, height, width), generator=stream(7), dtype=torch.uint8)


@given(labelled_counts, batch_sizes, st.integers(0, 1000))
def test_an_epoch_visits_every_example_once(labelled: int, batch_size: int, seed: int) -> None:
    parts = batches(recipe(batch_size), labelled, 0, stream(seed))
    assert sorted(torch.cat(parts).tolist()) == list(range(labelled))
    assert [len(part) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
    assert 1 <= len(parts[-1]) <= batch_size


@given(labelled_counts, st.integers(1, 500), batch_sizes, shares, st.integers(0, 1000))
def test_extra_data_takes_its_share_of_every_batch(
    labelled: int, pseudo: int, batch_size: int, share: float, seed: int
) -> None:
    assume(int(batch_size * share) >= 1)  # a recipe refuses less
    parts = batches(recipe(batch_size, share), labelled, pseudo, stream(seed))
    assert len(parts) == math.ceil(labelled / batch_size)
    assert all(part.max() < labelled + pseudo for part in parts)
    assert [int((part >= labelled).sum()) for part in parts] == [int(batch_size * share)] * len(parts)
    assert [len(part) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
    own = torch.cat([part[part < labelled] for part in parts]).tolist()
    assert len(own) == len(set(own))


def test_an_epoch_of_carmon_et_al() -> None:
    parts = batches(recipe(256, 0.5), 50_000, 500_000, stream())
    assert len(parts) == 196
    assert {int((part < 50_000).sum()) for part in parts} == {128}
    assert {len(part) for part in parts} == {256}


def test_every_slice_of_ghost_batch_norm_has_labelled_and_pseudo_labelled_images() -> None:
    """RST's official recipe: batches of 256, half of them pseudo-labelled, on two devices of 128 images."""
    plain = recipe(256, 0.5)
    whole = batches(plain, 5000, 5000, stream(0))
    ghost = batches(replace(plain, ghost_batch=128), 5000, 5000, stream(0))
    assert [len(batch) for batch in whole] == [len(batch) for batch in ghost]
    assert torch.equal(whole[0].sort().values, ghost[0].sort().values)
    shares = [int((part >= 5000).sum()) for batch in ghost[:-1] for part in batch.split(128)]
    assert all(40 < count < 88 for count in shares)  # 64 expected; 40 and 88 are more than 5 standard deviations away


def test_pseudo_labelled_images_are_drawn_with_replacement() -> None:
    drawn = torch.cat([part[part >= 100] for part in batches(recipe(20, 0.5), 100, 30, stream())])
    assert len(drawn) == 50
    assert drawn.unique().numel() <= 30


@given(labelled_counts, batch_sizes, st.none() | shares)
def test_batches_per_epoch_counts_batches(labelled: int, batch_size: int, share: float | None) -> None:
    assume(share is None or int(batch_size * share) >= 1)
    asked = recipe(batch_size, share)
    assert batches_per_epoch(asked, labelled) == len(batches(asked, labelled, 10, stream()))


@pytest.mark.parametrize("share", [None, 0.5])
def test_batches_follow_the_generator(share: float | None) -> None:
    asked = recipe(16, share)
    first, again, other = (torch.cat(batches(asked, 100, 50, stream(seed))).tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_to_float() -> None:
    whole = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    np.testing.assert_allclose(to_float(whole).flatten(), np.arange(256) / 255, rtol=1e-6)


@pytest.mark.parametrize("augment", [OFF, Augment(pad=0, flip=False, rotate=0.0, jitter=0.0)])
def test_everything_off_is_the_identity(augment: Augment) -> None:
    images, generator = pictures(5), stream()
    before = generator.get_state()
    assert torch.equal(augmented(images, augment, generator), to_float(images))
    assert torch.equal(generator.get_state(), before)


def test_no_rotation_and_no_jitter_draw_nothing() -> None:
    """The stream after crop and flip is where crop and flip alone leave it."""
    images, generator, expected = pictures(5), stream(), stream()
    augmented(images, Augment(pad=2, flip=True, rotate=0.0, jitter=0.0), generator)
    torch.randint(5, (2, 5, 1), generator=expected)
    torch.empty(5, 1, 1, 1).uniform_(0, 1, generator=expected)
    assert torch.equal(generator.get_state(), expected.get_state())


@pytest.mark.parametrize("shape", [(6, 3, 8, 8), (6, 1, 5, 9)], ids=str)
@pytest.mark.parametrize("pad", [1, 4])
def test_crop_restated_image_by_image(shape: tuple[int, int, int, int], pad: int) -> None:
    images = pictures(*shape)
    top, left = torch.randint(2 * pad + 1, (2, len(images), 1), generator=stream(3)).squeeze(2).tolist()
    height, width = shape[2:]
    expected = np.stack(
        [
            np.pad(image, ((0, 0), (pad, pad), (pad, pad)))[:, i : i + height, j : j + width]
            for image, i, j in zip(images.numpy(), top, left, strict=True)
        ]
    )
    found = augmented(images, Augment(pad=pad, flip=False), stream(3))
    np.testing.assert_array_equal(found, to_float(torch.from_numpy(expected)))


def test_every_crop_occurs() -> None:
    spot = torch.zeros(1000, 1, 5, 5, dtype=torch.uint8)
    spot[:, :, 2, 2] = 255
    places = augmented(spot, CROP, stream()).flatten(1)
    assert places.argmax(1).unique().tolist() == list(range(25))
    assert places.sum(1).eq(1).all()


def test_flip_restated_image_by_image() -> None:
    images = pictures(40)
    flipped = (torch.empty(40, 1, 1, 1).uniform_(0, 1, generator=stream(3)) < 0.5).flatten().tolist()
    expected = np.stack(
        [image[:, :, ::-1] if turn else image for image, turn in zip(images.numpy(), flipped, strict=True)]
    )
    np.testing.assert_array_equal(augmented(images, FLIP, stream(3)), to_float(torch.from_numpy(expected)))
    assert 5 < sum(flipped) < 35


def test_jitter_restated_image_by_image() -> None:
    """Brightness, contrast, saturation: a blend with black, with the mean grey, with each pixel's grey."""
    images, luma = pictures(6), np.array([0.299, 0.587, 0.114]).reshape(3, 1, 1)
    generator = stream(3)
    factors = [torch.empty(6, 1, 1, 1).uniform_(0.75, 1.25, generator=generator).flatten().tolist() for _ in range(3)]
    found = augmented(images, Augment(pad=0, flip=False, jitter=0.25), stream(3))
    for number, image in enumerate(images.numpy() / 255):
        brightness, contrast, saturation = (drawn[number] for drawn in factors)
        bright = np.clip(brightness * image, 0, 1)
        contrasted = np.clip(contrast * bright + (1 - contrast) * (bright * luma).sum(0).mean(), 0, 1)
        saturated = np.clip(saturation * contrasted + (1 - saturation) * (contrasted * luma).sum(0), 0, 1)
        np.testing.assert_allclose(found[number], saturated, atol=1e-6)


@pytest.mark.parametrize("size", [8, 9])
def test_rotation_restated_image_by_image(size: int) -> None:
    images = pictures(6, 3, size, size)
    limit = math.radians(15)
    angles = torch.empty(6, 1, 1, 1).uniform_(-limit, limit, generator=stream(3)).flatten().tolist()
    found = augmented(images, Augment(pad=0, flip=False, rotate=15.0), stream(3)).numpy()
    centre = (size - 1) / 2
    for number, image in enumerate(to_float(images).numpy()):
        cos, sin = math.cos(angles[number]), math.sin(angles[number])
        expected = np.zeros_like(image)
        for i, j in np.ndindex(size, size):
            row = round(centre + sin * (j - centre) + cos * (i - centre))
            column = round(centre + cos * (j - centre) - sin * (i - centre))
            if 0 <= row < size and 0 <= column < size:
                expected[:, i, j] = image[:, row, column]
        np.testing.assert_array_equal(found[number], expected)


ALL = [
    OFF,
    CROP,
    FLIP,
    EVERYTHING,
    Augment(pad=0, flip=False, rotate=180.0),
    Augment(pad=0, flip=False, jitter=1.0),
    Augment(pad=0, flip=False, rotate=15.0, jitter=0.25),
]


@pytest.mark.parametrize("augment", ALL)
@pytest.mark.parametrize("shape", [(9, 3, 8, 8), (9, 1, 7, 7)], ids=str)
def test_views_keep_shape_and_range(augment: Augment, shape: tuple[int, int, int, int]) -> None:
    images = pictures(*shape)
    untouched = images.clone()
    views = augmented(images, augment, stream())
    assert views.shape == images.shape
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.equal(images, untouched)


@pytest.mark.parametrize("augment", [each for each in ALL if each != OFF])
def test_views_follow_the_generator(augment: Augment) -> None:
    images = pictures(20)
    first, again, other = (augmented(images, augment, stream(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_quarter_turn_of_an_image_that_is_not_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """About its centre, pixel for pixel; what turns out of the image is lost."""
    monkeypatch.setattr(batches_module, "_uniform", lambda x, low, high, generator: torch.full((len(x), 1, 1, 1), high))
    x = torch.rand(2, 3, 8, 20, generator=stream(0))
    found, middle = batches_module._rotated(x, 90.0, stream(0)), slice(6, 14)
    assert torch.equal(found[..., middle], torch.rot90(x[..., middle], 1, (2, 3)))
    assert not found[..., :6].any()
    assert not found[..., 14:].any()
