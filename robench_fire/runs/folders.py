"""Run folders: runs/<dataset>/<norm>/<defense>/<fingerprint>/seed-<k>/, one file per finished stage.

Plain JSON and numpy; imports no torch, so that tables are instant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.errors import DataError
from robench_fire.files import SEAL, digest, held, replaced, sealed, sha256, write_json, write_text

BATCH_SIZE = 500  # of an evaluation, unless asked otherwise
SEEDS = 5  # how many seeds a row should have
PLAN = "plan.json"


@dataclass(frozen=True)
class Run:
    """One seed of one plan. A stage is done if and only if its file exists."""

    folder: Path

    @property
    def seed(self) -> int:
        return int(self.folder.name.removeprefix("seed-"))

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def trained(self) -> bool:
        """Whether its training has ended; the weights may lie elsewhere since."""
        return (self.folder / "train.json").exists()

    def status(self) -> str:
        """One line: how far it got."""
        if not self.trained:
            curve = self.folder / "curve.jsonl"
            done = len(curve.read_text(encoding="utf-8").splitlines()) if curve.exists() else 0
            return f"{done} of {self.read('plan.json')['recipe']['epochs']} epochs"
        results = [f"{each['attack']} {each['robust']:.2f} ({each['examples']})" for each in self.evaluations()]
        if not self.weights.exists():
            results.append("its weights are not here")
        return ", ".join(results) or "trained, not evaluated"

    def read(self, name: str) -> dict[str, Any]:
        """A stage's JSON.

        Raises:
            DataError: if the file is missing or not JSON, naming it.
        """
        return read_json(self.folder / name)

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """A stage's JSON with its seal; a plan has none, as its folder is called by its digest."""
        write_json(self.folder / name, value if name == PLAN else sealed(value))

    def write_curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        write_text(self.folder / "curve.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def validation(self) -> dict[str, float]:
        """Accuracy in percent on the validation split of the epoch whose weights are kept: "clean" and "robust".

        "robust" is under the recipe's validation attack; a training without an attack has none.

        Raises:
            DataError: if the curve is missing.
        """
        if not (path := self.folder / "curve.jsonl").exists():
            raise DataError(f"{path} is missing")
        curve = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        kept = curve[-1]
        if self.read("plan.json")["recipe"]["select"] != "last":  # of equal ones the last, as in training
            kept = max(reversed(curve), key=lambda row: row.get("robust", row["clean"]))
        return {name: kept[name] for name in ("clean", "robust") if name in kept}

    def evaluations(self) -> list[dict[str, Any]]:
        """Every finished evaluation of the weights that this folder's training ended with.

        Raises:
            DataError: if one cannot be read, or is of no number.
        """
        if not self.trained:
            return []
        weights = self.read("train.json")["weights_sha256"]
        paths = sorted(self.folder.glob("eval.*.json"))
        found = [read_json(path) for path in paths]
        for path, each in zip(paths, found, strict=True):
            if not all(math.isfinite(each.get(name, 0.0)) for name in ("clean", "robust")):
                raise DataError(f"{path} has an accuracy that is not a number; move it away and evaluate again")
        return [each for each in found if each["weights_sha256"] == weights]

    def siblings(self) -> dict[str, str]:
        """The other trained seeds of this plan: folder names, and the hash of each one's weights."""
        others = [run for run in find(self.folder.parent) if run.trained and run.folder != self.folder]
        return {run.folder.name: run.read("train.json")["weights_sha256"] for run in others}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process.

        Raises:
            UsageError: if another process works on it, or the folder cannot be written.
        """
        busy = f"{self.folder} is in use by another process; wait for it, or choose --output"
        with held(self.folder / ".lock", busy, f"cannot write {self.folder}", "; choose another --output"):
            yield


MORE_DATA = ("file", "given")
"""Kinds of extra_of that RobustBench calls additional data."""


def extra_of(plan: Mapping[str, Any]) -> str:
    """What beyond the data set's own images and labels a plan trains with.

    "file": pseudo-labelled images of a file; "given": weights to begin from, which are not of a run on this data set;
    "hidden": some of its own images with hidden labels, pseudo-labelled; else "".
    """
    extra, start = plan["recipe"]["extra"], plan["recipe"].get("start")
    if extra and extra["source"] == "file":
        return "file"
    if start and not start["of"].startswith(f"{plan['dataset']}/"):
        return "given"
    return str(extra["source"]) if extra else ""


def images_of(plan: Mapping[str, Any]) -> str:
    """The beginning of the hash of a plan's images of the user's own, of which several may have one name; else ""."""
    return str(plan["data"]["sha256"])[:8] if plan.get("data") else ""


def write_evaluation(stem: Path, masks: NDArray[Any], result: Mapping[str, Any]) -> None:
    """``stem``.npy, the masks (2, N) of booleans, clean and robust; then ``stem``.json, which says it is complete."""
    stored = stem.with_name(stem.name + ".npy")
    with replaced(stored) as partial, open(partial, "wb") as file:
        np.save(file, np.ascontiguousarray(masks), allow_pickle=False)
    write_json(stem.with_name(stem.name + ".json"), sealed({**result, "masks_sha256": sha256(stored)}))


def evaluation_name(
    attack: str, norm: str, eps: str, examples: int, seed: int, batch_size: int = BATCH_SIZE, order: str = ""
) -> str:
    """``aa-Linf-8_255-1000``; another seed than 0, batch than 500 and order than the test set's own are appended."""
    name = f"{attack}-{norm}-{eps.replace('/', '_')}-{examples}"
    name += (f"-seed{seed}" if seed else "") + (f"-batch{batch_size}" if batch_size != BATCH_SIZE else "")
    return name + (f"-{order}" if order else "")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, without its seal.

    Raises:
        DataError: if it is missing, not a JSON object, or not what was written, naming it.
    """
    return read_sealed(path)[0]


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """A JSON object from a file, without its seal, and whether it had one; older files have none.

    Raises:
        DataError: as read_json.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except OSError as fault:
        raise DataError(f"{path} cannot be read: {fault.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as fault:
        raise DataError(f"{path} is not JSON ({fault}); move it away and run the same command again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__} where an object was expected")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != (now := digest(value)):
        raise DataError(
            f"{path} was changed after it was written: its seal is {str(seal)[:12]}, its values give {now[:12]}; "
            "bring it back, or move it away and run the same command again"
        )
    return value, seal is not None


def find(folder: Path) -> list[Run]:
    """Every run at or below ``folder``, in a stable order."""
    folder = folder if folder.name else folder.resolve()  # "." has no name of its own
    plans = [folder / "plan.json"] if (folder / "plan.json").exists() else folder.glob("**/seed-*/plan.json")
    plans = [path for path in plans if re.fullmatch(r"seed-\d+", path.parent.name)]
    return [Run(path.parent) for path in sorted(plans, key=_order)]


def _order(path: Path) -> tuple[str, int]:
    return str(path.parent.parent), int(path.parent.name.removeprefix("seed-"))
