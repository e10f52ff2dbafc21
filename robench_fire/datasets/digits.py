"""Digits: 1,797 grey images of 8 x 8 from scikit-learn, 10 classes; always there, seconds on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from robench_fire import Augment, Dataset, Linf, Pgd, Quantity, Recipe, Sgd, Split

TEST = 300  # a sixth, drawn by a fixed permutation: scikit-learn ships only one part of the original data


def load(folder: Path) -> tuple[Split, Split]:
    bundle = load_digits()
    grey = np.rint(bundle.images * (255 / 16)).astype(np.uint8)  # 17 grey levels, 0 to 16
    full = Split(torch.from_numpy(grey[:, None]), torch.from_numpy(bundle.target.astype(np.int64)))
    order = torch.randperm(len(full.labels), generator=torch.Generator().manual_seed(19980701))
    return full.take(order[TEST:].sort().values), full.take(order[:TEST].sort().values)


DATASET = Dataset(
    num_classes=10,
    shape=(1, 8, 8),
    mean=(0.305,),
    std=(0.376,),
    recipes={
        Linf(eps=Quantity("0.2")): Recipe(
            arch="digits-cnn",
            attack=Pgd(steps=10, step=Quantity("0.05")),
            epochs=20,
            batch_size=128,
            optimiser=Sgd(lr=0.05),
            augment=Augment(pad=0, flip=False),
        )
    },
    source="robench_fire (docs/data.md)",
    extra_arch="digits-cnn",
    validation=100,
    train_size=1_397,
    load=load,
)
