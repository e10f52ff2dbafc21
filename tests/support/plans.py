"""Plans as the tests compose them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robench_fire.problem.plan import Plan
from robench_fire.runs.compose import Composed, Request, compose


def composed(defense: str = "fire", dataset: str = "cifar10", **asked: Any) -> Composed:
    return compose(Request(defense=defense, dataset=dataset, **asked))


def plan(defense: str = "fire", dataset: str = "cifar10", **asked: Any) -> Plan:
    return composed(defense, dataset, **asked).plan


def value(owner: object, path: str) -> Any:
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner


def source(found: Composed, path: str) -> str:
    return {each: where for each, _, where in found.sources()}[path]


def extra_file(folder: Path) -> Path:
    path = folder / "extra.npz"
    path.write_bytes(b"only its hash is in the plan")
    return path
