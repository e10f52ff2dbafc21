"""Accuracy of a row under common corruptions, where all its seeds were evaluated alike. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from robench_fire.evaluation.corruptions import stored
from robench_fire.runs.folders import Run
from robench_fire.statistics.summary import MeanStd, mean_std

Setting = tuple[bool, int, int, str]
"""Of files or not, on how many images, minus the seed, the images' hash; the best is the one that is shown."""


def facts(runs: Mapping[int, Run], scored: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """What a row records of it, under "corruptions": the setting, and by seed the mean and that of each corruption.

    Nothing where the seeds have no finished evaluation of one setting in common.

    Raises:
        DataError: if one cannot be read, or is not what its masks give.
    """
    found = {seed: _settings(runs[seed], about["weights_sha256"]) for seed, about in sorted(scored.items())}
    shared = set.intersection(*(set(each) for each in found.values()))
    if not shared:
        return {}
    chosen = max(shared)
    records = {str(seed): each[chosen] for seed, each in found.items()}
    first = next(iter(records.values()))
    means = {
        name: {seed: sum(each["corruptions"][name]["accuracy"]) / 5 for seed, each in records.items()}
        for name in first["corruptions"]
    }
    about = {name: first[name] for name in ("source", "examples", "seed")}
    return {
        "corruptions": about | {"accuracy": {seed: each["accuracy"] for seed, each in records.items()}, "of": means}
    }


def _settings(run: Run, weights: str) -> dict[Setting, dict[str, Any]]:
    records = [stored.read(path) for path in sorted(run.folder.glob("corruptions.*.json"))]
    return {
        (each["source"] == stored.FILES, each["examples"], -each["seed"], each["images_sha256"]): each
        for each in records
        if stored.finished(each) and each["weights_sha256"] == weights
    }


def over_seeds(known: Mapping[str, Any], seeds: Iterable[int]) -> MeanStd | None:
    """Mean accuracy over corruptions and severities, of these seeds of a row; None where it is not known."""
    found = known.get("corruptions", {}).get("accuracy")
    return mean_std([found[str(seed)] for seed in sorted(seeds)]) if found else None


def notes(known: Mapping[str, Any]) -> list[str]:
    """What a reader must know of it."""
    own = known.get("corruptions")
    if own is None:
        return []
    count = f"{len(own['of'])} corruptions, 5 severities, {own['examples']:,} test images"
    if own["source"] == stored.FILES:
        return [f"Corruptions: {count}, from files in the official layout."]
    return [f"Corruptions: {count}, made here; no figures of the official files, nor to be compared with such."]
