"""The finished plan and its bundle, made once for all tests, and copies that a test may break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import submission_runs as made
from shared_folder import shared_folder


@pytest.fixture(scope="module", autouse=True)
def _cut() -> Iterator[None]:
    with made.cut():
        yield


@pytest.fixture(scope="module")
def plan(_cut: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_folder(tmp_path_factory, "submission", made.finished)


@pytest.fixture(scope="module")
def bundle(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_folder(tmp_path_factory, "submission", made.written)


@pytest.fixture
def own(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the plan's folder, below the working directory."""
    monkeypatch.chdir(tmp_path)
    return made.copied(plan, tmp_path / "runs" / "cifar10" / "Linf" / "fire" / plan.name)


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    return made.copied(bundle, tmp_path / "bundle")
