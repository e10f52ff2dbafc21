"""Bundles and claims of the small plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import submission_runs as made

from robench_fire.runs.folders import read_json

INFO = f"model_info/cifar10/Linf/{made.NAME}.json"


AA = f"eval.aa-Linf-8_255-{made.TEST}"


def facts_of(plan: Path, seed: int) -> dict[str, Any]:
    return read_json(plan / f"seed-{seed}" / f"{AA}.json")
