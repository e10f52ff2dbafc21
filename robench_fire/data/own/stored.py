"""The folder that prepared images lie in: own/<name>/<hash>/, its dataset.json, and which source it was made of.

Imports no torch, so that listing is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robench_fire.errors import DataError
from robench_fire.files import write_json
from robench_fire.json_text import from_json
from robench_fire.problem.own_data import OwnData, own_data

FOLDER = "own"
FACTS = "dataset.json"  # the last file that is written
PARTS = ("train", "validation", "test")


def place_of(folder: Path, name: str, sha256: str) -> Path:
    """Where prepared images lie below the data folder."""
    return folder / FOLDER / name / sha256[:16]


def facts_at(place: Path) -> dict[str, Any]:
    """What dataset.json says.

    Raises:
        DataError: if it is missing or cannot be read.
    """
    try:
        found: dict[str, Any] = from_json((place / FACTS).read_text(encoding="utf-8"))
        own_data(found)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DataError(f"{place / FACTS} cannot be read ({fault}); move {place} away and prepare it again") from None
    return found


def remembered(folder: Path, name: str, signature: str) -> OwnData | None:
    """What was prepared of a source with this signature, where it is still there."""
    note = _note(folder, name, signature)
    try:
        place = place_of(folder, name, from_json(note.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return own_data(facts_at(place)) if (place / FACTS).exists() else None


def remember(folder: Path, name: str, signature: str, sha256: str) -> None:
    """Note what a source with this signature was prepared to."""
    write_json(_note(folder, name, signature), {"format": 1, "sha256": sha256})


def _note(folder: Path, name: str, signature: str) -> Path:
    return folder / FOLDER / name / f"{signature[:32]}.source.json"


def prepared_in(folder: Path) -> list[dict[str, Any]]:
    """The facts of everything that is prepared below the data folder, by name."""
    return [facts_at(path.parent) for path in sorted((folder / FOLDER).glob(f"*/*/{FACTS}"))]


def summary(facts: dict[str, Any]) -> str:
    """A line about prepared images."""
    shape = "x".join(map(str, facts["shape"]))
    counts = " + ".join(f"{facts[name]:,}" for name in PARTS)
    return f"your own: {counts} images ({', '.join(PARTS)}) of {shape}, {facts['num_classes']} classes"
