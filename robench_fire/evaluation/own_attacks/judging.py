"""What attacks of a user's own broke of the images that AutoAttack had left, in AutoAttack's verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robench_fire.evaluation import reliability
from robench_fire.evaluation.evaluator import Evaluator
from robench_fire.evaluation.own_attacks import worst_case
from robench_fire.files import sealed, write_json
from robench_fire.problem.threat import Threat


def count_own(evaluator: Evaluator, threat: Threat) -> dict[Path, dict[str, Any]]:
    """Renew the verdicts of complete AutoAttacks on these weights; by file, what they are now."""
    about = {
        "weights_sha256": evaluator.weights, "images_sha256": evaluator.images, "norm": threat.norm,
        "eps": str(threat.eps),
    }  # fmt: skip
    found, made = worst_case.beside(evaluator.source.stem, about), {}
    for each in found:
        if each.facts["attack"] in reliability.COMPLETE and "reliability" in each.facts:
            broken = {
                other.shown: int((each.robust & ~other.robust).sum())
                for other in found if worst_case.is_own(other.facts)
            }  # fmt: skip
            verdict = reliability.with_own(each.facts["reliability"], broken, len(each.robust))
            if verdict != each.facts["reliability"]:
                write_json(each.path, sealed(each.facts | {"reliability": verdict}))
            made[each.path] = verdict
    return made
