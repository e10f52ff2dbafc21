"""Official files: recognised by their MD5, and never read if altered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_files import ALTERED, CONTENT, ONE, TOY, TWO, blank, held, placed, quiet

from robench_fire.data import fetching
from robench_fire.datasets import cifar10, mnist
from robench_fire.errors import DataError
from robench_fire.problem.dataset import Dataset, Split


def test_an_official_file_is_verified(tmp_path: Path) -> None:
    placed(tmp_path)
    assert [fetching.condition(file, tmp_path) for file in TOY.files] == ["verified", "verified"]


def test_an_absent_file_and_a_folder_of_its_name_are_missing(tmp_path: Path) -> None:
    (tmp_path / TWO).mkdir(parents=True)
    assert [fetching.condition(file, tmp_path) for file in TOY.files] == ["missing", "missing"]


@pytest.mark.parametrize("length", [0, 1, len(CONTENT[ONE]) - 1])
def test_a_truncated_file_is_altered(tmp_path: Path, length: int) -> None:
    placed(tmp_path, {ONE: CONTENT[ONE][:length]})
    assert fetching.condition(TOY.files[0], tmp_path) == "altered"


def test_one_flipped_byte_anywhere_is_an_alteration(tmp_path: Path) -> None:
    for position in range(len(CONTENT[ONE])):
        content = bytearray(CONTENT[ONE])
        content[position] ^= 1
        placed(tmp_path, {ONE: bytes(content)})
        assert fetching.condition(TOY.files[0], tmp_path) == "altered"


def test_a_file_of_another_data_set_is_altered(tmp_path: Path) -> None:
    placed(tmp_path, {ONE: CONTENT[TWO]})
    assert fetching.condition(TOY.files[0], tmp_path) == "altered"


def test_splits_come_from_verified_files(tmp_path: Path) -> None:
    splits = fetching.splits("toy", TOY, placed(tmp_path))
    assert (len(splits.train.labels), len(splits.validation.labels)) == (100, 100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({ONE: CONTENT[ONE]}, "is missing"),
        ({ONE: CONTENT[ONE], TWO: ALTERED}, "is not the official file"),
        ({ONE: CONTENT[ONE], TWO: CONTENT[ONE]}, "is not the official file"),
        ({ONE: CONTENT[ONE], TWO: CONTENT[TWO][:3]}, "(3 bytes) is not the official file"),
    ],
)
def test_splits_names_the_file_and_the_command_and_reads_nothing(
    tmp_path: Path, content: dict[str, bytes], said: str
) -> None:
    read: list[Path] = []

    def load(folder: Path) -> tuple[Split, Split]:
        read.append(folder)
        return blank(folder)

    placed(tmp_path, content)
    with pytest.raises(DataError) as caught:
        fetching.splits("toy", replace(TOY, load=load), tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / TWO))
    assert said in message
    assert f"run `robench data toy --data-dir {tmp_path}`" in message
    assert "\n" not in message
    assert read == []
    assert held(tmp_path) == content


@pytest.mark.parametrize(("name", "dataset"), [("cifar10", cifar10.DATASET), ("mnist", mnist.DATASET)])
def test_bundled_data_sets_refuse_files_that_only_look_right(tmp_path: Path, name: str, dataset: Dataset) -> None:
    placed(tmp_path, {file.path: b"" for file in dataset.files})
    said = f"{dataset.files[0].path} .* is not the official file.*`robench data {name} --data-dir {tmp_path}`"
    with pytest.raises(DataError, match=said):
        fetching.splits(name, dataset, tmp_path)
    with pytest.raises(DataError, match=said):
        fetching.fetch(name, dataset, tmp_path, quiet)
