"""A board: each row against its own masks and plan, and the tables beside it against its rows."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robench_fire.boards.model_info import BOARD_KEY, from_model_info, to_model_info
from robench_fire.boards.rows import Row
from robench_fire.files import SEAL
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs.folders import read_json
from robench_fire.statistics.masks import unpacked
from robench_fire.statistics.summary import wilson
from robench_fire.verification.finding import Finding, far, lacking, listed, numbers_apart, tried, unlike
from robench_fire.verification.images import Images, own_of

UNSEALED = "no seal is recorded: what its masks and plan do not give, like training times, is taken as it stands"


def row(path: Path, images: Images) -> list[Finding]:
    """Everything that can be said of the row ``path``, a JSON of a board."""
    told = tried("row", path, lambda: [_sealed(path)])
    if told[0].passed is False:
        return told
    found, own = from_model_info(path), read_json(path)[BOARD_KEY]
    told += tried("plan", path, lambda: [_plan(path, found)])
    told += tried("aggregates", path, lambda: [_aggregates(path, found, own)])
    told += tried("masks", path, lambda: [_masks(path, found)])
    told += tried("test images", path, lambda: _images(path, found, images))
    told += [_recorded(path, found)]
    return told


def _sealed(path: Path) -> Finding:
    from_model_info(path)
    info = read_json(path)
    if SEAL in info[BOARD_KEY]:
        return Finding("row", str(path), True, "its seal; RobustBench's fields are what its seeds give")
    if any(isinstance(each, str) and re.fullmatch("[0-9a-f]{64}", each) for each in info[BOARD_KEY].values()):
        return Finding("row", str(path), False, "its seal has another name")
    return lacking("row", path, UNSEALED)


def _plan(path: Path, found: Row) -> Finding:
    wrong = unlike({"fingerprint": (found.fingerprint, plan_fingerprint(found.plan))})
    return listed("plan", path, wrong, "its fingerprint")


def _aggregates(path: Path, found: Row, own: Mapping[str, Any]) -> Finding:
    """What a row says of all its seeds, and of each one's images."""
    wrong = far({f"std of {name}": (own["std"].get(name), found.over_seeds(name).std) for name in own["std"]})
    intervals = found.facts.get("evaluator", {}).get("robust_intervals", {})
    for seed, values in found.per_seed.items():
        if given := intervals.get(str(seed)):
            low, high = wilson(round(values["robust"] * found.examples / 100), found.examples)
            wrong += far({f"seed {seed}'s lower end": (given[0], low), f"seed {seed}'s upper end": (given[1], high)})
    others = {"PGD-20": {str(seed): value for seed, value in found.pgd20.items()}, **found.facts.get("attacks", {})}
    for name, seeds in others.items():
        wrong += [
            f"seed {seed}'s {name} accuracy of {value} % is no number of {found.examples:,} images"
            for seed, value in seeds.items() if name != "transfer" and _broken(value * found.examples / 100)
        ]  # fmt: skip
    wrong += numbers_apart("footnote", read_json(path)["footnote"], to_model_info(found)["footnote"])
    return listed("aggregates", path, wrong, "mean, std and 95 % intervals of its seeds")


def _broken(count: float) -> bool:
    return abs(count - round(count)) > 1e-6


def _masks(path: Path, found: Row) -> Finding:
    """The masks of a row as the files that its seeds' evaluations stored: the hash is that of the .npy."""
    packed, given = found.facts.get("masks", {}), found.facts.get("masks_sha256", {})
    if absent := sorted({str(seed) for seed in found.per_seed} - set(packed)):
        return lacking("masks", path, f"no masks of seed {', '.join(absent)} are recorded")
    wrong, hashed = [], 0
    for seed, both in packed.items():
        masks = np.stack([unpacked(both[name], found.examples) for name in ("clean", "robust")])
        if (masks[1] & ~masks[0]).any():
            wrong.append(f"seed {seed}: images are robust that are not classified correctly")
        if seed in given:
            hashed += 1
            wrong += unlike({f"seed {seed}'s SHA-256": (mask_sha256(masks), given[seed])})
    return listed("masks", path, wrong, "accuracies of each seed" + (", and their SHA-256" if hashed else ""))


def mask_sha256(masks: Any) -> str:
    """Of the .npy file of masks (2, N)."""
    file = io.BytesIO()
    np.save(file, masks, allow_pickle=False)
    return hashlib.sha256(file.getvalue()).hexdigest()


def _images(path: Path, found: Row, images: Images) -> list[Finding]:
    given = found.facts.get("images_sha256", [])
    own = own_of(found.plan)
    if not given:
        return [images.same(found.dataset, found.examples, None, path, own)]
    if len(given) > 1:
        return [listed("test images", path, [f"its seeds were evaluated on {len(given)} sets of images"], "")]
    return [images.same(found.dataset, found.examples, given[0], path, own)]


def _recorded(path: Path, found: Row) -> Finding:
    """Which seeds' weights and code are named; what was trained does not lie on a board."""
    codes = [session.get("code") for sessions in found.facts["sessions"].values() for session in sessions]
    lacks = [] if all(codes) else ["the code of its training"]
    lacks += [] if found.facts.get("evaluation_code") else ["the code of its evaluation"]
    lacks += [] if set(found.facts["weights_sha256"]) == {str(seed) for seed in found.per_seed} else ["some weights"]
    if lacks:
        return lacking("code and weights", path, f"no hash is recorded of {' and '.join(lacks)}")
    return Finding("code and weights", str(path), True, "their SHA-256 is recorded; they are not on a board")
