"""The test images that evaluations were made on, read once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from robench_fire.data import fetching
from robench_fire.data.own.dataset import verified
from robench_fire.errors import RobenchError
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset, Split, head
from robench_fire.verification.finding import Finding, lacking, listed


class Images:
    """Test images of any data set whose verified files lie in the folder ``data``.

    Those of the user's own are asked for by ``own``, the SHA-256 that a plan knows them by; "" of a bundled data set.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.hashes: dict[tuple[str, str, int], str] = {}

    def test(self, dataset: str, own: str = "") -> Split | str:
        """The test images, or why they are not here.

        Raises:
            DataError: if a file is there that is not the official one, or not what was prepared.
        """
        return _own(dataset, own, self.data) if own else _test(dataset, self.data)

    def sha256(self, dataset: str, examples: int, own: str = "") -> str:
        """Of the first ``examples``; "" where they are not here."""
        asked = dataset, own, examples
        if asked not in self.hashes:
            found = self.test(dataset, own)
            self.hashes[asked] = "" if isinstance(found, str) else head(found, examples).sha256()
        return self.hashes[asked]

    def same(self, dataset: str, examples: int, given: str | None, file: Path, own: str = "") -> Finding:
        """Whether the images of an evaluation are the data set's."""
        if given is None:
            return lacking("test images", file, "no hash of the images is recorded")
        if not (here := self.sha256(dataset, examples, own)):
            return lacking("test images", file, str(self.test(dataset, own)))
        wrong = [f"images_sha256 is {given[:12]}, the first {examples:,} test images of {dataset} give {here[:12]}"]
        return listed("test images", file, wrong * (given != here), f"the first {examples:,} of {dataset}, by SHA-256")


def own_of(facts: Mapping[str, Any]) -> str:
    """By which hash a plan, or an evaluation, knows its images, where they are the user's own; else ""."""
    return str((facts.get("data") or {}).get("sha256", ""))


@cache
def _own(name: str, sha256: str, data: Path) -> Split | str:
    found = verified(name, sha256, data)
    return found if isinstance(found, str) else found.test


@cache
def _test(dataset: str, data: Path) -> Split | str:
    try:
        parts: Dataset = registry.load("datasets", dataset).module.DATASET
    except RobenchError as fault:
        return str(fault)
    if any(fetching.condition(file, data) == "missing" for file in parts.files):
        return f"{dataset} is not in {data}: `robench data {dataset}{fetching.elsewhere(data)}` brings it"
    return fetching.splits(dataset, parts, data).test
