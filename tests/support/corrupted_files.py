"""A folder in the layout of CIFAR-10-C, of any test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robench_fire.data.corruptions.made import corrupted
from robench_fire.data.corruptions.names import CORRUPTIONS, MADE, SEVERITIES
from robench_fire.problem.dataset import Split


def layout(folder: Path, test: Split) -> Path:
    """Every corruption of ``test``; frost, which cannot be made, is fog here."""
    folder.mkdir(parents=True)
    for name in CORRUPTIONS:
        made = name if name in MADE else "fog"
        severities = [corrupted(test.images, made, each).permute(0, 2, 3, 1).numpy() for each in SEVERITIES]
        np.save(folder / f"{name}.npy", np.concatenate(severities))
    np.save(folder / "labels.npy", np.tile(test.labels.numpy(), len(SEVERITIES)))
    return folder
