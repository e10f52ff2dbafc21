"""Rows of committed boards with other values, as if measured."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from repository import BOARDS

from robench_fire.boards import model_info
from robench_fire.boards.rows import Row

EVERY = {row.paper["method"]: row for row in model_info.find_rows(BOARDS / "all" / "digits")
         if not row.facts["by_hand"]}  # fmt: skip
CIFAR = {row.paper["method"]: row for row in model_info.find_rows(BOARDS / "cifar10")}
SPREAD = (-1.0, 0.0, 1.0, 0.5, -0.5)


def measured(row: Row, clean: float, robust: float, spread: Sequence[float] = SPREAD, seconds: float = 10.0) -> Row:
    """A row whose seeds lie around these means; without masks, which would say otherwise."""
    seeds = {seed: {"clean": clean + off, "robust": robust + off, "train_seconds": seconds * (1 + off / 100)}
             for seed, off in enumerate(spread)}  # fmt: skip
    one = {name: next(iter(row.facts[name].values())) for name in ("sessions", "verdicts")}
    alike = {name: {str(seed): value for seed in seeds} for name, value in one.items()}
    return replace(row, per_seed=seeds, unfinished=(), facts=row.facts | alike | {"masks": {}})


def planned(row: Row, recipe: Mapping[str, Any] | None = None, defense: Mapping[str, Any] | None = None,
            profile: str = "matched", **facts: Any) -> Row:  # fmt: skip
    """A row of another plan, with a fingerprint of its own."""
    plan = row.plan | {"profile": profile, "recipe": row.plan["recipe"] | dict(recipe or {})}
    plan["defense"] = plan["defense"] | dict(defense or {})
    mark = f"{zlib.crc32(str(plan).encode()):012x}"
    return replace(row, plan=plan, fingerprint=mark, facts=row.facts | {"by_hand": {}} | facts)
