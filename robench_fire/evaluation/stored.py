"""Finished evaluations on disk: writing one from its record, and whether it is there."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.errors import DataError, unwritten
from robench_fire.evaluation import adversarial_images, autoattack_log, reliability
from robench_fire.evaluation.evaluate import Result, result
from robench_fire.evaluation.evaluator import Evaluator
from robench_fire.evaluation.own_attacks.worst_case import is_own
from robench_fire.evaluation.record import Record
from robench_fire.files import sha256, write_text
from robench_fire.problem.threat import Threat
from robench_fire.runs import folders, provenance
from robench_fire.runs.shapes import EVALUATION
from robench_fire.statistics.summary import percent, wilson


def keeps_images(about: Mapping[str, Any]) -> bool:
    """Whether what broke the model is kept, as evidence: of a complete AutoAttack, and of an attack of the user's."""
    return about["attack"] in reliability.COMPLETE or is_own(about)


def is_current(evaluator: Evaluator, attack: str, threat: Threat) -> bool:
    """Whether this very evaluation is on disk, finished."""
    stored, identity = evaluator.path(evaluator.name(attack, threat), ".json"), evaluator.identity(attack, threat)
    if not (stored.exists() and stored.with_suffix(".npy").exists()):
        return False
    found = folders.shaped(stored, EVALUATION)
    return all(found.get(name) == value for name, value in identity.items())


def masks_of(evaluator: Evaluator, attack: str, threat: Threat) -> NDArray[np.bool_]:
    """(2, N) clean and robust, of a finished evaluation, as the images are attacked."""
    path = evaluator.path(evaluator.name(attack, threat), ".npy")
    found = folders.read_masks(path)
    if found.shape[1] != len(evaluator.order):
        raise DataError(f"{path} is of {found.shape[1]:,} images, not of {len(evaluator.order):,}; move it away")
    return found[:, evaluator.order]


def facts_of(evaluator: Evaluator, attack: str, threat: Threat) -> dict[str, Any]:
    """What a finished evaluation says."""
    return folders.shaped(evaluator.path(evaluator.name(attack, threat), ".json"), EVALUATION)


def finish(evaluator: Evaluator, threat: Threat, whole: Record) -> dict[str, Any]:
    """Write masks, facts and log of a complete record.

    Raises:
        RobenchError: if they cannot be written.
    """
    found = result(whole)
    name = evaluator.name(str(whole.identity["attack"]), threat)
    facts, path = _facts(name, evaluator, whole, found), evaluator.path(name, "")
    try:
        if keeps_images(whole.identity):
            parts = evaluator.path(name, ".adv")
            images = evaluator.path(name, ".adv.safetensors")
            facts["images_missing"] = adversarial_images.gather(parts, whole, evaluator.order, images)
            if images.exists():
                facts["perturbed_sha256"] = sha256(images)
        write_text(log := evaluator.path(name, ".log"), autoattack_log.text(whole))
        facts["log_sha256"] = sha256(log)
        masks = np.stack([found.clean, found.robust])[:, np.argsort(evaluator.order)]  # in the test set's own order
        folders.write_evaluation(path, masks, facts)  # says that all is there
        clear(evaluator, facts, threat)  # what has gone into it is needed until then
    except OSError as fault:
        raise unwritten(path, fault) from None
    return facts


def clear(evaluator: Evaluator, facts: dict[str, Any], threat: Threat) -> None:
    """Remove the images of each unit, once all are in one file."""
    name = evaluator.name(str(facts["attack"]), threat)
    shards = evaluator.path(name, "").parent.glob(f"{glob.escape(evaluator.path(name, '').name)}.shard-*-of-*")
    if not (facts.get("images_missing", True) or any(shards)):  # shards stay, and so do their images
        adversarial_images.clear(evaluator.path(name, ".adv"))


def _facts(name: str, evaluator: Evaluator, whole: Record, found: Result) -> dict[str, Any]:
    about = whole.identity
    low, high = wilson(int(found.robust.sum()), len(found.robust))
    return {
        "name": name,
        "dataset": evaluator.source.dataset,
        **({"data": {"sha256": own.sha256}} if (own := evaluator.source.data) else {}),
        **about,
        "clean": percent(found.clean),
        "robust": percent(found.robust),
        "robust_interval": [low, high],
        "after": found.after,
        "attack_seconds": found.seconds,
        "seconds": sum(found.seconds.values()),
        "largest_perturbation": found.largest,
        "flags": found.flags,
        **({"uncounted": found.uncounted._asdict()} if is_own(about) else {}),
        "sessions": whole.sessions,
        "machines": sorted(whole.machines),
        "versions": provenance.versions(),
        "code": provenance.code(),
    }
