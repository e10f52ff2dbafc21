"""What is left of a row under several norms together, where its seeds were attacked under others too. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robench_fire.boards.worst import contradiction
from robench_fire.evaluation.own_attacks.worst_case import Found, beside, left
from robench_fire.quantity import Quantity
from robench_fire.runs.evaluations import ATTACK_NAMES
from robench_fire.runs.folders import Run
from robench_fire.statistics.masks import packed
from robench_fire.statistics.summary import MeanStd, mean_std, percent

Threat = tuple[str, str]
"""Norm and radius."""


def facts(
    runs: Mapping[int, Run], scored: Mapping[int, Mapping[str, Any]], evaluated: Mapping[int, Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    """What a row records of it, under "union": images that are correct whichever of several norms is chosen.

    The row's own threat, and all radii under other norms; a larger radius of its own norm is another row. Of a threat
    counts what all seeds were attacked with, on the row's images, masks kept. "threats": each with its "attacks" and
    what they leave of each seed, "robust". "robust" and "masks": of all together. "apart": other threats, that do not
    count. ``scored``: by seed the evaluation that its row is of; ``evaluated``: all.
    """
    own, others = _threats(scored, evaluated)
    if not others:
        return {}
    alike = {threat: _alike(runs, scored, threat) for threat in (own, *others)}
    counted = {threat: found for threat, found in alike.items() if found}
    apart = [" ".join(threat) for threat in alike if threat not in counted]
    made: dict[str, Any] = {"apart": apart} if apart else {}
    if own not in counted or len(counted) == 1:
        return {"union": made}
    masks = {seed: left([each for found in counted.values() for each in found[seed]]) for seed in sorted(scored)}
    return {
        "union": made | {
            "threats": [_alone(threat, found) for threat, found in counted.items()],
            "robust": {str(seed): percent(mask) for seed, mask in masks.items()},
            "masks": {str(seed): packed(mask) for seed, mask in masks.items()},
        }
    }  # fmt: skip


def _threats(
    scored: Mapping[int, Mapping[str, Any]], evaluated: Mapping[int, Sequence[dict[str, Any]]]
) -> tuple[Threat, list[Threat]]:
    """A row's own threat, and those under other norms that any of its seeds was evaluated at."""
    about = scored[min(scored)]
    others = {
        (each["norm"], float(Quantity(each["eps"]))): (each["norm"], each["eps"])
        for seed in scored for each in evaluated[seed] if each["norm"] != about["norm"]
    }  # fmt: skip
    return (about["norm"], about["eps"]), [others[key] for key in sorted(others)]


def _alike(runs: Mapping[int, Run], scored: Mapping[int, Mapping[str, Any]], threat: Threat) -> dict[int, list[Found]]:
    """By seed, the evaluations at a threat by the attacks that all seeds have; empty if there are none."""
    at = dict(zip(("norm", "eps"), threat, strict=True))
    found = {seed: beside(runs[seed].folder / "eval", {**about, **at}, always=True) for seed, about in scored.items()}
    shared = set.intersection(*({each.shown for each in all_} for all_ in found.values()))
    return {seed: [each for each in all_ if each.shown in shared] for seed, all_ in found.items()} if shared else {}


def _alone(threat: Threat, found: Mapping[int, Sequence[Found]]) -> dict[str, Any]:
    norm, eps = threat
    attacks = list(dict.fromkeys(each.shown for each in found[min(found)]))
    return {"norm": norm, "eps": eps, "attacks": attacks,
            "robust": {str(seed): percent(left(all_)) for seed, all_ in sorted(found.items())}}  # fmt: skip


def over_seeds(known: Mapping[str, Any], seeds: Iterable[int]) -> MeanStd | None:
    """Robust accuracy under all threats together, of these seeds of a row; None where it is not known."""
    robust = known.get("union", {}).get("robust")
    return mean_std([robust[str(seed)] for seed in sorted(seeds)]) if robust else None


def notes(known: Mapping[str, Any]) -> list[str]:
    """What a reader must know of it."""
    own = known.get("union", {})
    told = [
        f"{threat} is in no union: no attack there has masks of all seeds, on this row's images."
        for threat in own.get("apart", ())
    ]
    each = [
        f"{one['norm']} {one['eps']} ({', '.join(ATTACK_NAMES.get(name, name) for name in one['attacks'])}: "
        f"{mean_std([value for _, value in sorted(one['robust'].items())])})"
        for one in own.get("threats", ())
    ]
    return [*told, *([f"Union: correct under all of {', '.join(each)}."] if each else [])]


def impossible(known: Mapping[str, Any], seed: int, examples: int) -> str:
    """What a union cannot be: another one than its mask says, or above what one of its threats leaves."""
    own = known.get("union", {})
    return contradiction("union", own, [each["robust"] for each in own.get("threats", ())], seed, examples)
