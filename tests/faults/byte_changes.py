"""Bytes of a finished run's files are changed, one at a time: each is found, or leaves the same values.

Files other than JSON are compared by the SHA-256 of their bytes. A JSON is compared by the digest of its values, so the
only changes that pass are those after which it holds the same values:

- white space between them;
- digits of a number beyond what a float keeps;
- of an escaped text, the case of a hexadecimal digit.

``.lock`` is empty, and nothing is read from it. In ``plan.json`` the digest is the 12 digits that the folder is called.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from verified_runs import the, verified, wrong

from robench_fire.errors import DataError
from robench_fire.files import SEAL, digest
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs.folders import Run, read_sealed

EVALUATIONS = [f"eval.{attack}*{ending}" for attack in ("aa", "pgd20") for ending in (".json", ".npy", ".log")]
FILES = ["weights.safetensors", "curve.jsonl", "pseudo_labels.npy", "labeller.json", "plan.json", "provenance.json",
         "train.json", *EVALUATIONS, "eval.aa*.adv.safetensors"]  # fmt: skip
"""All of a finished run but the empty .lock."""
JSONS = [name for name in FILES if name.endswith(".json")]
PLACES = 30


def same_values(before: bytes, after: bytes) -> bool:
    """Whether two texts are one JSON value."""
    try:
        return digest(json.loads(before)) == digest(json.loads(after))
    except ValueError:
        return False


def drawn(run: Run, name: str, places: int = PLACES) -> Counter[str]:
    """Changes of a file at places drawn by a seed, through everything that ``robench verify`` does; it is put back.

    How many were "found", left the "same values", or were "missed".
    """
    path = the(run, name)
    before, came = path.read_bytes(), Counter[str]()
    draw = np.random.default_rng(len(before))
    try:
        for place in draw.integers(len(before), size=places):
            after = bytearray(before)
            after[place] = (after[place] + draw.integers(1, 256)) % 256
            path.write_bytes(after)
            same = name in JSONS and same_values(before, bytes(after))
            came["found" if wrong(verified(run.folder)) else "same values" if same else "missed"] += 1
    finally:
        path.write_bytes(before)
    return came


def every(run: Run, name: str, path: Path) -> Counter[str]:
    """Each byte of a JSON with its lowest bit flipped, and digits with the next one, by the function that reads them.

    ``path``: where the changed ones are written.
    """
    before, came = the(run, name).read_bytes(), Counter[str]()
    for after in _neighbours(before):
        path.write_bytes(after)
        came[_told(run, name, path, before, after)] += 1
    return came


def _neighbours(before: bytes) -> Iterator[bytes]:
    for place, value in enumerate(before):
        for other in {value ^ 1, *([48 + (value - 47) % 10] if 48 <= value < 58 else [])}:
            yield before[:place] + bytes([other]) + before[place + 1 :]


def _told(run: Run, name: str, path: Path, before: bytes, after: bytes) -> str:
    try:
        found, still = read_sealed(path)
    except DataError:
        return "found"
    if name == "plan.json" and plan_fingerprint(found) != run.folder.parent.name:
        return "found"
    if name == "plan.json" or still:
        return "same values" if same_values(before, after) else "missed"
    return "found" if _without_seal(found, json.loads(before)) else "missed"


def _without_seal(found: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Whether it is the seal's name that was changed, which `robench verify` misses, and nothing else."""
    renamed = bool(set(found) - set(facts))
    return renamed and all(found[key] == facts[key] for key in facts if key != SEAL)
