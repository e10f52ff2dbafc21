"""Every bundled data set is well-formed, and its splits never change."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from robench_fire.datasets import digits
from robench_fire.models import architectures
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset, Split, Splits, head
from robench_fire.problem.plan import Plan
from robench_fire.problem.recipe import Extra

NAMES = sorted(registry.names("datasets"))


GOLDEN = ["5b522eadb741", "0a9864cb4dbf", "8f39ea8344c0"]


LABELLED = {"cifar10": 50_000, "cifar100": 50_000, "digits": 1_797 - 300, "mnist": 60_000}


each = pytest.mark.parametrize("name", NAMES)


bundled = pytest.mark.parametrize("name", sorted(LABELLED))


def dataset(name: str) -> Dataset:
    found: Dataset = registry.load("datasets", name).module.DATASET
    return found


def counted(*splits: Split) -> Counter[tuple[bytes, int]]:
    return Counter(
        (image.numpy().tobytes(), int(label)) for split in splits for image, label in zip(*split, strict=True)
    )


@bundled
def test_every_bundled_data_set_is_found(name: str) -> None:
    assert name in NAMES


@each
def test_its_numbers_fit_each_other(name: str) -> None:
    data = dataset(name)
    channels, height, width = data.shape
    assert channels >= 1
    assert height == width > 1
    assert len(data.mean) == len(data.std) == channels
    assert all(0 < value < 1 for value in (*data.mean, *data.std))
    assert data.num_classes >= 2
    assert 0 < data.validation < data.train_size
    assert data.source
    assert data.examples is None or data.examples > 0


@bundled
def test_training_and_validation_images_are_all_labelled_ones(name: str) -> None:
    assert dataset(name).train_size + dataset(name).validation == LABELLED[name]


@bundled
def test_the_number_of_its_test_images_is_known(name: str) -> None:
    assert dataset(name).test_size == {"digits": 300}.get(name, 10_000)


@each
def test_its_recipes_can_be_run(name: str) -> None:
    data, defense = dataset(name), registry.load("defenses", "madry").module.DEFENSE
    norms = [threat.norm for threat in data.recipes]
    assert norms[0] == "Linf"
    assert len(set(norms)) == len(norms)
    for threat, recipe in data.recipes.items():
        assert threat.eps > 0
        assert recipe.extra is None
        plan = Plan(
            name="madry", dataset=name, profile="matched", defense=defense, threat=threat, claim=threat, recipe=recipe
        )
        plan.check()
        assert plan.with_extra(Extra()).recipe.epochs == 2 * recipe.epochs


@each
def test_its_architectures_take_its_images(name: str) -> None:
    data = dataset(name)
    for arch in {data.extra_arch, *(recipe.arch for recipe in data.recipes.values())}:
        with torch.device("meta"):
            model = architectures.builder(arch, data.shape)(data.shape, data.num_classes).eval()
            assert model(torch.zeros(2, *data.shape)).shape == (2, data.num_classes)


@each
def test_its_files_have_relative_paths_official_hashes_and_a_source(name: str) -> None:
    data = dataset(name)
    assert len({file.path for file in data.files}) == len(data.files)
    for file in data.files:
        assert not Path(file.path).is_absolute()
        assert ".." not in Path(file.path).parts
    for each_one in (*data.files, *data.downloads):
        assert re.fullmatch("[0-9a-f]{32}", each_one.md5)
    assert bool(data.files) == bool(data.downloads)
    assert all(download.url.startswith("https://") for download in data.downloads)


@pytest.fixture(scope="module")
def real() -> Splits:
    return digits.DATASET.splits(Path("nowhere"))


def test_digits_has_the_announced_sizes(real: Splits) -> None:
    assert [len(split.labels) for split in real] == [digits.DATASET.train_size, digits.DATASET.validation, digits.TEST]
    assert sum(len(split.labels) for split in real) == 1_797


def test_digits_splits_hold_every_image_of_the_original_once(real: Splits) -> None:
    bundle = load_digits()
    grey = np.rint(bundle.images * 255 / 16).astype(np.uint8)
    original = Split(torch.from_numpy(grey), torch.from_numpy(bundle.target))
    assert counted(*real) == counted(original)


def test_digits_splits_are_disjoint(real: Splits) -> None:
    train, validation, test = (counted(split) for split in real)
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_digits_are_bytes_with_labels_in_range(real: Splits) -> None:
    for split in real:
        assert split.images.dtype == torch.uint8
        assert split.images.shape[1:] == digits.DATASET.shape
        assert (split.images.min(), split.images.max()) == (0, 255)
        assert split.labels.dtype == torch.int64
        assert split.labels.unique().tolist() == list(range(10))


def test_digits_splits_are_the_same_whatever_the_global_seed(real: Splits) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    again = digits.DATASET.splits(Path("elsewhere"))
    assert torch.equal(torch.random.get_rng_state(), before)
    for first, second in zip(real, again, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)


def test_digits_splits_never_change(real: Splits) -> None:
    """Stored results refer to these images by position; another permutation would falsify them."""
    seen = [hashlib.sha256(split.images.numpy().tobytes()).hexdigest()[:12] for split in real]
    assert seen == GOLDEN


def test_digits_mean_and_std_are_those_of_the_training_images(real: Splits) -> None:
    values = real.train.images.double() / 255
    assert values.mean().item() == pytest.approx(digits.DATASET.mean[0], abs=2e-3)
    assert values.std().item() == pytest.approx(digits.DATASET.std[0], abs=2e-3)


def test_validation_images_are_taken_from_the_training_part_only() -> None:
    train = Split(torch.arange(1_497).view(-1, 1, 1, 1), torch.arange(1_497))
    test = Split(torch.arange(1_497, 1_797).view(-1, 1, 1, 1), torch.arange(1_497, 1_797))
    data = Dataset(**{**vars(digits.DATASET), "load": lambda folder: (train, test)})
    splits = data.splits(Path())
    assert splits.test is test
    assert len(splits.validation.labels) == 100
    assert sorted([*splits.train.labels.tolist(), *splits.validation.labels.tolist()]) == list(range(1_497))
    assert torch.equal(splits.train.images.flatten(), splits.train.labels)
    assert torch.equal(splits.validation.images.flatten(), splits.validation.labels)


def test_head_is_the_first_examples_or_all(real: Splits) -> None:
    assert torch.equal(head(real.test, 7).labels, real.test.labels[:7])
    assert head(real.test, None) is real.test
    assert len(head(real.test, 10_000).labels) == digits.TEST
