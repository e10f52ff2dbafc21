"""Masks as text: the same mask comes back, and what is none is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robench_fire.statistics.masks import packed, unpacked


@given(arrays(bool, st.integers(1, 70)))
def test_a_mask_comes_back(mask: np.ndarray) -> None:  # type: ignore[type-arg]
    assert np.array_equal(unpacked(packed(mask), len(mask)), mask)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_ten_thousand_images_take_less_than_two_kilobytes(share: float) -> None:
    assert len(packed(np.random.default_rng(0).random(10_000) < share)) < 1650


@pytest.mark.parametrize(("text", "length"), [("no base 85 \x7f", 10), ("abcde", 10), (packed(np.ones(40, bool)), 300)])
def test_what_is_no_mask_of_so_many_images_is_refused(text: str, length: int) -> None:
    with pytest.raises(ValueError, match="packed mask"):
        unpacked(text, length)
