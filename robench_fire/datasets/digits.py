"""Digits: 1,797 grey images of 8 x 8 from scikit-learn, 10 classes; always there, seconds on a CPU."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from robench_fire import L2, Augment, Dataset, Linf, Pgd, Quantity, Recipe, Sgd, Split

TEST = 300  # a sixth, drawn by a fixed permutation: scikit-learn ships only one part of the original data


def load(folder: Path) -> tuple[Split, Split]:
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)  # a row an image: 64 pixels and the label
    grey = np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)  # 17 grey levels, 0 to 16
    full = Split(torch.from_numpy(grey), torch.from_numpy(table[:, -1].copy()))
    order = torch.randperm(len(full.labels), generator=torch.Generator().manual_seed(19980701))
    return full.take(order[TEST:].sort().values), full.take(order[:TEST].sort().values)


def _file() -> Path:
    """scikit-learn's own file, found without importing scikit-learn, which takes a second."""
    package = find_spec("sklearn")
    assert package is not None  # a dependency
    return Path(*(package.submodule_search_locations or ()), "datasets", "data", "digits.csv.gz")


LINF = Recipe(
    arch="digits-cnn",
    attack=Pgd(steps=10, step=Quantity("0.05")),
    epochs=20,
    batch_size=128,
    optimiser=Sgd(lr=0.05),
    augment=Augment(pad=0, flip=False),
)

DATASET = Dataset(
    num_classes=10,
    shape=(1, 8, 8),
    mean=(0.305,),
    std=(0.376,),
    # each radius is about 0.28 of the median distance to the nearest image of another class; a step is a quarter
    recipes={
        Linf(eps=Quantity("0.2")): LINF,
        L2(eps=Quantity("0.5")): replace(LINF, attack=Pgd(steps=10, step=Quantity("0.125"))),
    },
    source="robench_fire (docs/data.md)",
    extra_arch="digits-cnn",
    validation=100,
    train_size=1_397,
    test_size=TEST,
    load=load,
)
