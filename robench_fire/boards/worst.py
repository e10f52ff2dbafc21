"""The masks of a row, and its worst case, where its seeds were attacked by attacks of a user's own too. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robench_fire.evaluation.own_attacks import worst_case
from robench_fire.runs.evaluations import ATTACK_NAMES, masks
from robench_fire.runs.folders import Run
from robench_fire.statistics.masks import unpacked
from robench_fire.statistics.summary import MeanStd, mean_std, percent


def facts(runs: Mapping[int, Run], scored: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """What a row records of them by seed: "masks", and "worst_case" where an attack is a user's own."""
    found = {seed: worst_case.beside(runs[seed].folder / "eval", about) for seed, about in scored.items()}
    made = worst_case.over_seeds(found)
    return {"masks": masks(runs, scored)} | ({"worst_case": made} if made else {})


def of_files(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """The worst case of evaluated checkpoints, each by one of its evaluations, the file and what it says."""
    stems = [path.with_name(path.name.removesuffix(f".{about.get('name', '')}.json")) for path, about in found]
    made = {at: worst_case.beside(stem, about) for at, (stem, (_, about)) in enumerate(zip(stems, found, strict=True))}
    known = worst_case.over_seeds(made)
    return {"worst_case": known} if known else {}


def over_seeds(known: Mapping[str, Any], seeds: Iterable[int]) -> MeanStd | None:
    """Robust accuracy under all attacks together, of these seeds of a row; None where it is not known."""
    robust = known.get("worst_case", {}).get("robust")
    return mean_std([robust[str(seed)] for seed in sorted(seeds)]) if robust else None


def notes(known: Mapping[str, Any]) -> list[str]:
    """What a reader must know of it."""
    own = known.get("worst_case", {})
    told = [
        f"{name} was run on seed {', '.join(map(str, seeds))} only, and is in no worst case."
        for name, seeds in own.get("some", {}).items()
    ]
    if "robust" not in own:
        return told
    names = ", ".join(ATTACK_NAMES.get(name, name) for name in own["attacks"])
    alone = ", ".join(
        f"{name} {mean_std([value for _, value in sorted(own['attacks'][name].items())])}" for name in own["sha256"]
    )
    worst = mean_std([value for _, value in sorted(own["robust"].items())])
    return [*told, f"Worst case of {names}: {worst}; by itself, {alone}."]


def impossible(known: Mapping[str, Any], seed: int, examples: int) -> str:
    """What a worst case cannot be: another one than its mask says, or above what one of its attacks leaves."""
    own = known.get("worst_case", {})
    return contradiction("worst case", own, [*own.get("attacks", {}).values()], seed, examples)


def contradiction(
    name: str, own: Mapping[str, Any], parts: Sequence[Mapping[str, float]], seed: int, examples: int
) -> str:
    """What a seed's robust accuracy and mask under several together cannot be. ``parts``: what each leaves, by seed."""
    key = str(seed)
    if "robust" not in own:
        return ""
    if any(key not in each for each in (own["robust"], own["masks"], *parts)):
        return f"seed {seed} has no {name}, others have"
    mask = unpacked(own["masks"][key], examples)
    if abs(percent(mask) - own["robust"][key]) > 1e-6:
        return f"seed {seed}'s {name} of {own['robust'][key]} % is not that of its mask"
    if any(each[key] < own["robust"][key] for each in parts):
        return f"seed {seed}'s {name} of {own['robust'][key]} % is above what a part of it leaves"
    return ""
