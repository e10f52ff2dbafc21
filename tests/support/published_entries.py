"""The published entries, by name."""

from __future__ import annotations

from robench_fire.tables.entries import (
    published,
)

ALL = published()


BY_NAME = {(each.dataset, each.norm, each.key): each for each in ALL}
