"""Every reader gets pixels and labels where the official layout has them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from robench_fire.datasets import cifar10, cifar100, mnist
from robench_fire.problem.dataset import File


def pixels(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def rows(images: NDArray[np.uint8], *labels: NDArray[np.uint8]) -> bytes:
    """CIFAR's binary layout, image by image."""
    parts = []
    for index, image in enumerate(images):
        parts += [bytes(int(column[index]) for column in labels), image.tobytes()]
    return b"".join(parts)


def test_a_row_is_one_label_and_three_planes() -> None:
    images, labels = pixels(5, 3, 32, 32), pixels(5)
    split = cifar10.rows_to_split(rows(images, labels), 1)
    assert np.array_equal(split.images.numpy(), images)
    assert split.labels.tolist() == labels.tolist()
    assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)


def test_of_two_labels_the_second_counts() -> None:
    images, coarse, fine = pixels(5, 3, 32, 32), pixels(5, seed=1), pixels(5, seed=2)
    split = cifar10.rows_to_split(rows(images, coarse, fine), 2)
    assert np.array_equal(split.images.numpy(), images)
    assert split.labels.tolist() == fine.tolist()


def test_cifar10_reads_its_batches_in_order(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for number, file in enumerate(cifar10.FILES):
        content = rows(pixels(2, 3, 32, 32, seed=number), np.array([number, number], np.uint8))
        (tmp_path / file.path).write_bytes(content)
    train, test = cifar10.load(tmp_path)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert test.labels.tolist() == [5, 5]
    assert np.array_equal(train.images[4:6].numpy(), pixels(2, 3, 32, 32, seed=2))
    assert np.array_equal(test.images.numpy(), pixels(2, 3, 32, 32, seed=5))


def test_cifar10_is_rebuilt_from_the_pictures_of_the_npm_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture holds one image a row, its pixels as red, green and blue."""
    kept = (cifar10.FILES[0], cifar10.FILES[1], cifar10.FILES[5])
    monkeypatch.setattr(cifar10, "FILES", kept)
    grey = np.arange(10_000, dtype=np.uint16)[:, None, None] + np.array([0, 50, 100], np.uint16)
    colours = np.broadcast_to(grey % 256, (10_000, 1024, 3)).astype(np.uint8)
    colours[:, :2, 0] = (200, 7)
    Image.fromarray(colours).save(tmp_path / "data_batch_1.png", compress_level=1)
    for file in kept[1:]:
        (tmp_path / f"{Path(file.path).stem}.png").hardlink_to(tmp_path / "data_batch_1.png")
    labels = {"train": [*range(10)] * 1_000 + [7] * 10_000, "test": [3] * 10_000}
    for part, values in labels.items():
        (tmp_path / f"{part}_lables.json").write_text(json.dumps(values))
    made = dict(cifar10.from_npm(tmp_path))
    assert list(made) == [file.path for file in kept]
    first, second, test = (cifar10.rows_to_split(content, 1) for content in made.values())
    assert first.labels.tolist() + second.labels.tolist() == labels["train"]
    assert test.labels.tolist() == labels["test"]
    assert first.images[30, :, 0, :3].tolist() == [[200, 7, 30], [80, 80, 80], [130, 130, 130]]
    assert torch.equal(first.images, test.images)


def cifar100_archive(folder: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(folder / cifar100.ARCHIVE.path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_cifar100_reads_the_fine_label_from_the_archive(tmp_path: Path) -> None:
    coarse, fine = np.array([19, 0, 7], np.uint8), np.array([99, 0, 42], np.uint8)
    train, test = pixels(3, 3, 32, 32, seed=1), pixels(3, 3, 32, 32, seed=2)
    members = {
        "cifar-100-binary/fine_label_names.txt": b"apple\n",
        "cifar-100-binary/test.bin": rows(test, coarse, fine[::-1]),
        "cifar-100-binary/train.bin": rows(train, coarse, fine),
    }
    cifar100_archive(tmp_path, members)
    first, second = cifar100.load(tmp_path)
    assert first.labels.tolist() == [99, 0, 42]
    assert second.labels.tolist() == [42, 0, 99]
    assert np.array_equal(first.images.numpy(), train)
    assert np.array_equal(second.images.numpy(), test)
    assert [path.name for path in tmp_path.iterdir()] == [cifar100.ARCHIVE.path]


def idx(values: NDArray[np.uint8]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


@pytest.mark.parametrize("shape", [(7,), (1,), (3, 28, 28), (300, 2, 5)])
def test_an_idx_file_says_its_own_shape(shape: tuple[int, ...]) -> None:
    values = pixels(*shape)
    read = mnist.read_idx(idx(values))
    assert read.dtype == torch.uint8
    assert np.array_equal(read.numpy(), values)


def mnist_files(folder: Path) -> dict[str, NDArray[np.uint8]]:
    shapes = ((6, 28, 28), (6,), (4, 28, 28), (4,))
    made = {file.path: pixels(*shape) for file, shape in zip(mnist.FILES, shapes, strict=True)}
    for path, values in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(idx(values))
    return made


def test_mnist_pairs_images_with_labels(tmp_path: Path) -> None:
    images, labels, test_images, test_labels = mnist_files(tmp_path).values()
    train, test = mnist.load(tmp_path)
    assert np.array_equal(train.images.numpy(), images[:, None])
    assert np.array_equal(test.images.numpy(), test_images[:, None])
    assert train.labels.tolist() == labels.tolist()
    assert test.labels.tolist() == test_labels.tolist()
    assert train.labels.dtype == torch.int64


def test_mnist_takes_the_files_of_the_npm_package_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for file in mnist.FILES:
        (tmp_path / "data" / Path(file.path).name).write_bytes(file.md5.encode())
    assert dict(mnist.from_npm(tmp_path)) == {file.path: file.md5.encode() for file in mnist.FILES}


def test_each_mnist_archive_lands_beside_its_file() -> None:
    landed = [f"{each_one.folder}/{Path(each_one.url).stem}" for each_one in mnist.DATASET.downloads]
    assert landed == [file.path for file in mnist.FILES]


def test_the_cifar100_archive_is_verified_whole() -> None:
    assert cifar100.DATASET.files == (File("cifar-100-binary.tar.gz", cifar100.DATASET.downloads[0].md5),)
    assert not cifar100.DATASET.downloads[0].unpack
