"""What `robench corruptions` leaves beside weights, written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from written_runs import HASH

from robench_fire.evaluation.corruptions import stored
from robench_fire.files import sealed, write_json
from robench_fire.runs.folders import Run
from robench_fire.statistics.masks import packed

IMAGES = 300


def record(run: Run, right: int, source: str = stored.HERE, weights: str = HASH, whole: bool = True) -> float:
    """A record as `robench corruptions` leaves it, with so many images right at each severity; its mean."""
    mask = np.arange(IMAGES) < right
    each = {"accuracy": [100 * right / IMAGES] * 5, "masks": [packed(mask)] * 5, "images_sha256": [HASH] * 5}
    found: dict[str, Any] = {
        "source": source, "dataset": "digits", "examples": IMAGES, "seed": 0, "arch": "digits-cnn",
        "normalise": "dataset", "weights_sha256": weights, "images_sha256": HASH, "clean": 90.0, "machines": ["cpu"],
        "corruptions": dict.fromkeys(stored.names_of(source), each),
    }  # fmt: skip
    found |= stored.summary(found) if whole else {}
    write_json(stored.place(run.folder / "eval", source, IMAGES, 0), sealed(found))
    return 100 * right / IMAGES
