"""A row to change."""

from __future__ import annotations

import pytest
from measured_entries import FIRE

from robench_fire.boards.rows import Row


@pytest.fixture
def fire() -> Row:
    """FIRE on the committed digits board."""
    return FIRE
