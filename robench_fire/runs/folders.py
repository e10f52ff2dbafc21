"""Run folders: runs/<dataset>/<norm>/<defense>/<fingerprint>/seed-<k>/, one file per finished stage.

Plain JSON and numpy; imports no torch, so that tables are instant.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench_fire.errors import ASK, FORBIDDEN, HANDLES, DataError, refuse_closed
from robench_fire.files import SEAL, digest_of_read, held, replaced, sealed, sha256, write_json, write_text
from robench_fire.json_text import from_json
from robench_fire.runs import shapes
from robench_fire.statistics.curves import kept_epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_SIZE = 500  # of an evaluation, unless asked otherwise
SEEDS = 5  # how many seeds a row should have
PLAN, _SEED = "plan.json", re.compile(r"seed-\d+")


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
            return f"{len(self.curve())} of {self.read('plan.json')['recipe']['epochs']} epochs"
        results = [f"{each['attack']} {each['robust']:.2f} ({each['examples']})" for each in self.evaluations()]
        if not self.weights.exists():
            results.append("its weights are not here")
        return ", ".join(results) or "trained, not evaluated"

    def read(self, name: str) -> dict[str, Any]:
        """A stage's JSON.

        Raises:
            DataError: if the file is missing, not JSON or not what is read of it, naming it.
        """
        return shaped(self.folder / name, shapes.OF.get(name, {}))

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """A stage's JSON with its seal; a plan has none, as its folder is called by its digest."""
        write_json(self.folder / name, value if name == PLAN else sealed(value))

    def write_curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        write_text(self.folder / "curve.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def curve(self) -> list[dict[str, Any]]:
        """A row for each epoch; none where there is no curve.

        Raises:
            DataError: if it cannot be read.
        """
        path = self.folder / "curve.jsonl"
        return curve_of(text_of(path), path) if path.exists() else []

    def validation(self) -> dict[str, float]:
        """Accuracy in percent on the validation split of the epoch whose weights are kept: "clean" and "robust".

        "robust" is under the recipe's validation attack; a training without an attack has none.

        Raises:
            DataError: if the curve is missing.
        """
        if not (curve := self.curve()):
            raise DataError(f"{self.folder / 'curve.jsonl'} is missing, or holds no epoch")
        kept = kept_epoch(curve, self.read(PLAN)["recipe"]["select"])
        return {name: kept[name] for name in ("clean", "robust") if name in kept}

    def evaluations(self) -> list[dict[str, Any]]:
        """Every finished evaluation of the weights that this folder's training ended with.

        Raises:
            DataError: if one cannot be read.
        """
        if not self.trained:
            return []
        weights = self.read("train.json")["weights_sha256"]
        found = [shaped(path, shapes.EVALUATION) for path in sorted(self.folder.glob("eval.*.json"))]
        return [each for each in found if each["weights_sha256"] == weights]

    def progress(self) -> set[tuple[Path, int]]:
        """Its files but plan, provenance and lock, with their modification times."""
        found = set()
        for path in (Path(at, name) for at, _, names in os.walk(self.folder) for name in names):
            if path.name not in (PLAN, "provenance.json", ".lock"):
                with suppress(FileNotFoundError):  # removed meanwhile
                    found.add((path, path.stat().st_mtime_ns))
        return found

    def siblings(self) -> dict[str, str]:
        """The other trained seeds of this plan: folder names, and the hash of each one's weights."""
        others = [run for run in _found(self.folder.parent) if run.trained and run.folder != self.folder]
        return {run.folder.name: run.read("train.json")["weights_sha256"] for run in others}

    @contextmanager
    def locked(self, otherwise: str = "choose another --output") -> Iterator[None]:
        """Hold the folder against a second process; who may not write there hears what to do ``otherwise``.

        Raises:
            UsageError: if another process works on it, or the folder cannot be written.
        """
        busy = f"{self.folder} is in use by another process; wait for it, or choose --output"
        with held(self.folder / ".lock", busy, f"cannot write {self.folder}", f"; {otherwise}"):
            yield


MORE_DATA = ("file", "given")
"""Kinds of extra_of that RobustBench calls additional data."""


def extra_of(plan: Mapping[str, Any]) -> str:
    """What beyond the data set's own images and labels a plan trains with.

    "file": pseudo-labelled images of a file; "given": weights to begin from, which are not of a run on this data set
    alone; "hidden": some of its own images with hidden labels, pseudo-labelled; else "".
    """
    extra, start = plan["recipe"]["extra"], plan["recipe"].get("start")
    if extra and extra["source"] == "file":
        return "file"
    if start and (start.get("seen") or start["of"].partition("/")[0]) != plan["dataset"]:
        return "given"
    return str(extra["source"]) if extra else ""


def images_of(plan: Mapping[str, Any]) -> str:
    """The beginning of the hash of a plan's images of the user's own, of which several may have one name; else ""."""
    return str(plan["data"]["sha256"])[:8] if plan.get("data") else ""


def write_evaluation(stem: Path, masks: NDArray[Any], result: Mapping[str, Any]) -> None:
    """``stem``.npy, the masks (2, N) of booleans, clean and robust; then ``stem``.json, which says it is complete."""
    import numpy as np  # here and below, because it takes longer to import than to list runs

    stored = stem.with_name(stem.name + ".npy")
    with replaced(stored) as partial, open(partial, "wb") as file:
        np.save(file, np.ascontiguousarray(masks), allow_pickle=False)
    write_json(stem.with_name(stem.name + ".json"), sealed({**result, "masks_sha256": sha256(stored)}))


def text_of(path: Path) -> str:
    """A file's text.

    Raises:
        DataError: if it is missing, or no text, naming it.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except OSError as fault:
        if fault.errno in HANDLES:  # nothing of this file's
            raise
        fix = f"; {ASK}" if fault.errno in FORBIDDEN else ""
        raise DataError(f"{path} cannot be read: {fault.strerror}{fix}") from None
    except ValueError as fault:
        raise DataError(f"{path} is no text ({fault}); move it away and run the same command again") from None


def curve_of(text: str, path: Path) -> list[dict[str, Any]]:
    """The rows of a curve's text, that of ``path``.

    Raises:
        DataError: if it is none.
    """
    try:
        rows = [from_json(line) for line in text.splitlines()]
    except ValueError as fault:
        raise DataError(f"{path} is no curve ({fault}); move it away and train again") from None
    if wrong := shapes.misfit(rows, [shapes.CURVE], "its line"):
        raise DataError(f"{path} is no curve: {wrong}; move it away and train again")
    return rows


def read_array(path: Path) -> NDArray[Any]:
    """The array of an .npy; nothing pickled is read, and no more than the file holds, whatever it says.

    Raises:
        DataError: if it cannot be read.
    """
    import numpy as np

    try:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; the command that made it makes it again") from None
    except Exception as fault:  # whatever numpy raises on a broken file
        if isinstance(fault, OSError) and fault.errno in HANDLES:  # nothing of this file's
            raise
        said = f"{path} cannot be read ({type(fault).__name__})"
        raise DataError(f"{said}; move it away, and the command that made it makes it again") from None


def read_masks(path: Path) -> NDArray[Any]:
    """(2, N) booleans of an evaluation's .npy, clean and robust.

    Raises:
        DataError: if it cannot be read, or holds something else.
    """
    found = read_array(path)
    if found.dtype != bool or found.ndim != 2 or len(found) != 2:
        raise DataError(f"{path} holds {found.dtype} {found.shape} where booleans (2, N) were expected; evaluate again")
    return found


def shaped(path: Path, shape: shapes.Shape) -> dict[str, Any]:
    """A JSON object from a file, without its seal, that is of a shape.

    Raises:
        DataError: as read_json, or naming the value that is not what it should be.
    """
    found = read_json(path)
    if wrong := shapes.misfit(found, shape):
        raise DataError(f"{path}: {wrong}; bring it back, or move it away and run the same command again")
    return found


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
        value = from_json(text_of(path))
    except ValueError as fault:
        raise DataError(f"{path} is not JSON ({fault}); move it away and run the same command again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__} where an object was expected")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != (now := digest_of_read(value)):
        raise DataError(
            f"{path} was changed after it was written: its seal is {str(seal)[:12]}, its values give {now[:12]}; "
            "bring it back, or move it away and run the same command again"
        )
    return value, seal is not None


def find(folder: Path) -> list[Run]:
    """Every run at or below ``folder``, in a stable order.

    Raises:
        UsageError: if something there may not be read, as runs would be left out in silence.
    """
    if folder.is_file() and not os.access(folder, os.R_OK):
        refuse_closed(PermissionError(EACCES, os.strerror(EACCES), str(folder)))
    return _found(folder, refuse_closed)


def _found(folder: Path, closed: Callable[[OSError], None] | None = None) -> list[Run]:
    """``closed`` hears of what cannot be read; what is removed meanwhile is passed over."""
    runs = []
    for at, inner, files in os.walk(folder if folder.name else folder.resolve(), onerror=closed):
        if _SEED.fullmatch(Path(at).name):
            runs += [Path(at)] * (PLAN in (*inner, *files))
            inner.clear()
        else:  # into links is not walked
            links = (Path(at, name) for name in inner if _SEED.fullmatch(name))
            runs += [each for each in links if each.is_symlink() and (each / PLAN).exists()]
    return [Run(each) for each in sorted(runs, key=_order)]


def _order(folder: Path) -> tuple[str, int]:
    return str(folder.parent), int(folder.name.removeprefix("seed-"))
