"""What a model is right on under common corruptions, as it is stored: one JSON, longer by each corruption. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robench_fire.data.corruptions.names import CORRUPTIONS, KINDS, MADE, SEVERITIES
from robench_fire.errors import DataError
from robench_fire.runs.folders import shaped
from robench_fire.runs.shapes import CORRUPTED
from robench_fire.statistics.masks import unpacked
from robench_fire.statistics.summary import percent

FILES, HERE = "files", "made"
"""Where images come from: files in the layout of CIFAR-10-C, or this package."""


def names_of(source: str) -> tuple[str, ...]:
    """The corruptions that a source has."""
    return CORRUPTIONS if source == FILES else MADE


def place(stem: Path, source: str, examples: int, seed: int) -> Path:
    """Where the record lies of weights whose evaluations lie at ``stem``, see ModelSource."""
    name = f"corruptions.{source}-{examples}{f'-seed{seed}' if seed else ''}.json"
    return stem.with_name(stem.name.removesuffix("eval") + name)


def read(path: Path) -> dict[str, Any]:
    """A record, perhaps an unfinished one.

    Raises:
        DataError: if it cannot be read, or its accuracies are not those of its masks.
    """
    found = shaped(path, CORRUPTED)
    try:
        wrong = unlike_masks(found)
    except ValueError as fault:
        wrong = str(fault)
    if wrong:
        raise DataError(f"{path}: {wrong}; move it away and run the same command again")
    return found


def unlike_masks(found: Mapping[str, Any]) -> str:
    """What of a record is not what its masks give; "" if all is."""
    for name, each in found["corruptions"].items():
        masks = [unpacked(mask, found["examples"]) for mask in each["masks"]]
        if len(masks) != len(SEVERITIES) or name not in CORRUPTIONS:
            return f"{name} has {len(masks)} severities"
        if [percent(mask) for mask in masks] != each["accuracy"]:
            return f"the accuracies of {name} are not those of its masks"
    if finished(found) and {name: found[name] for name in ("accuracy", "error", "kinds")} != summary(found):
        return "its mean is not that of its corruptions"
    return ""


def finished(found: Mapping[str, Any]) -> bool:
    """Whether every corruption is there."""
    return "accuracy" in found


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """The mean accuracy in percent over corruptions and severities, the error that it leaves, and means by kind."""
    means = {name: _mean(each["accuracy"]) for name, each in found["corruptions"].items()}
    kinds = {kind: _mean([means[name] for name in names if name in means]) for kind, names in KINDS.items()}
    accuracy = _mean([means[name] for name in names_of(found["source"])])
    return {"accuracy": accuracy, "error": 100 - accuracy, "kinds": kinds}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
