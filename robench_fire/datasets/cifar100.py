"""CIFAR-100: 50,000 training and 10,000 test colour images of 32 x 32, 100 classes."""

from __future__ import annotations

import tarfile
from pathlib import Path

from robench_fire import Dataset, Download, File, Split
from robench_fire.datasets import cifar10

# The archive is the official file with a published MD5; it is read as it is, never unpacked.
ARCHIVE = File("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")


def load(folder: Path) -> tuple[Split, Split]:
    with tarfile.open(folder / ARCHIVE.path) as tar:
        blobs = [tar.extractfile(f"cifar-100-binary/{name}.bin") for name in ("train", "test")]
        train, test = (blob.read() for blob in blobs if blob is not None)
    return cifar10.rows_to_split(train, 2), cifar10.rows_to_split(test, 2)


DATASET = Dataset(
    num_classes=100,
    shape=(3, 32, 32),
    mean=(0.50708, 0.48655, 0.44092),
    std=(0.26733, 0.25644, 0.27615),
    recipes=cifar10.RECIPES,
    source="FIRE, section 5 (matched protocol)",
    extra_arch="wrn-28-10",
    validation=1000,
    train_size=49_000,
    test_size=10_000,
    load=load,
    files=(ARCHIVE,),
    protocols=cifar10.PROTOCOLS,
    corrupted="CIFAR-100-C",
    downloads=(Download("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", ARCHIVE.md5, unpack=False),),
)
