"""The 95 % interval of one row, over what varies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from robench_fire.boards.rows import Row
from robench_fire.comparison.interval import interval
from robench_fire.comparison.scores import Metric
from robench_fire.statistics.masks import packed
from robench_fire.statistics.paired import mean
from robench_fire.statistics.summary import wilson

IMAGES = 300


def row(board_row: Row, robust: np.ndarray, masks: bool = True) -> Row:
    """FIRE with these images right under attack, (seeds, images); all are right when clean."""
    clean = np.ones_like(robust)
    return replace(
        board_row,
        per_seed={
            seed: {"clean": 100.0, "robust": 100 * each.mean(), "train_seconds": 1.0}
            for seed, each in enumerate(robust)
        },
        facts=board_row.facts
        | {
            "masks": {
                str(seed): {"clean": packed(one), "robust": packed(other)}
                for seed, (one, other) in enumerate(zip(clean, robust, strict=True))
                if masks
            }
        },
    )


def drawn(seeds: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    hard, skill = rng.normal(0, 1, IMAGES), rng.normal(0.2, 0.3, (seeds, 1))
    return skill + rng.normal(0, 0.5, (seeds, IMAGES)) > hard


def test_over_seeds_and_images(fire: Row) -> None:
    found = interval(row(fire, robust := drawn(5)), "robust")
    assert found is not None
    assert found.over == "seeds and images"
    assert found.value == pytest.approx(100 * robust.mean())
    alone = stats.t.ppf(0.975, IMAGES - 1) * 100 * robust.mean(0).std(ddof=1) / IMAGES**0.5
    assert found.half > alone  # seeds vary too
    assert (found.low, found.high) == mean(100.0 * robust)[1:3]


def test_a_single_seed_is_over_images_and_near_wilsons(fire: Row) -> None:
    found = interval(row(fire, robust := drawn(1)), "robust")
    assert found is not None
    assert found.over == "images"
    assert (found.low, found.high) == pytest.approx(wilson(int(robust.sum()), IMAGES), abs=0.5)
    assert interval(row(fire, robust, masks=False), "robust") is not None
    assert interval(row(fire, robust, masks=False), "average") is None  # nothing says how the two go together


def test_without_masks_it_is_over_seeds(fire: Row) -> None:
    robust = drawn(5)
    found = interval(row(fire, robust, masks=False), "robust")
    values = 100 * robust.mean(1)
    assert found is not None
    assert found.over == "seeds"
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize(("right", "metric"), [(0, "robust"), (1, "robust"), (0, "clean")])
@pytest.mark.parametrize("seeds", [1, 5])
def test_where_all_agree_images_still_say_how_far_it_can_be(fire: Row, right: int, metric: Metric, seeds: int) -> None:
    found = interval(row(fire, np.full((seeds, IMAGES), bool(right))), metric)
    assert found is not None
    expected = 100.0 if right or metric == "clean" else 0.0
    assert (found.value, found.over) == (expected, "images")
    assert found.half == pytest.approx(1.26, abs=0.01)
    assert 0 <= found.low < found.high <= 100


def test_a_single_image_varies_over_seeds_alone(fire: Row) -> None:
    one = replace(row(fire, drawn(5)[:, :1]), examples=1)
    found = interval(one, "robust")
    assert found is not None
    assert found.over in ("seeds", "images")
