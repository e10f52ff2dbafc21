"""Runs that are made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_folder import shared_folder
from verified_runs import copied, finished


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, brief_attacks: None) -> Path:
    """Finished runs; not to be changed."""
    return shared_folder(tmp_path_factory, "verified", lambda folder: finished(folder / "runs"))


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return copied(made, tmp_path / "runs")
