"""Everything below a folder, checked against what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from robench_fire import stopping
from robench_fire.boards.model_info import is_board_file
from robench_fire.errors import DataError, DisagreesError
from robench_fire.progress import Report
from robench_fire.runs import folders
from robench_fire.runs.folders import Run, read_json, read_sealed
from robench_fire.verification import boards
from robench_fire.verification.evaluations import elsewhere, evaluated_file, evaluation, hashed
from robench_fire.verification.finding import Finding, lacking, tried
from robench_fire.verification.images import Images
from robench_fire.verification.recompute import recompute
from robench_fire.verification.runs import run
from robench_fire.verification.tables import tables

OUTCOMES = {True: "agrees", False: "disagrees", None: "not recorded"}
Step = Callable[[], list[Finding]]


def verify(source: Path, data: Path, count: int | None, device: torch.device, report: Report) -> list[Finding]:
    """What was checked of the runs, boards and evaluations at or below ``source``.

    ``data``: the folder of data sets. ``count``: so many perturbed images of each evaluation of a run, and all its
    clean ones, are shown to the model again; None: no model is loaded.

    Raises:
        DataError: if there is nothing to check.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist; name a board, a run, or a folder of either")
    images = Images(data)
    steps = [*_steps(source, images, count, device)]
    if not steps:
        raise DataError(f"{source} holds no board, run or evaluation; `robench ls runs` lists runs")
    found = []
    for done, (path, step) in enumerate(steps):
        stopping.check()
        report("verify", done, len(steps), str(path))
        found += step()
    report("verify", len(steps), len(steps), "")
    return found


def _steps(source: Path, images: Images, count: int | None, device: torch.device) -> Iterator[tuple[Path, Step]]:
    listed = [source] if source.is_file() else sorted(source.rglob("*.json"))
    rows = [path for path in listed if is_board_file(path)]
    for path in rows:
        yield path, partial(boards.row, path, images)
    for folder in dict.fromkeys(path.parent for path in rows if source.is_dir()):
        yield folder, partial(tables, folder)
    for each in folders.find(source):
        yield each.folder, partial(run, each, images)
        if count is not None and each.trained:
            yield each.folder, partial(_recomputed, each, count, images, device)
    for path in listed:
        if path.name == "train.json" and not (path.parent / folders.PLAN).exists():
            yield path, partial(_planless, path)
        if path.name.startswith("transfer-"):
            yield path, partial(tried, "transfer", path, partial(_transfer, path))
    for path in elsewhere(source):
        yield path, partial(_alone, path, images)


def _recomputed(found: Run, count: int, images: Images, device: torch.device) -> list[Finding]:
    return tried("clean predictions", found.folder, partial(recompute, found, count, images, device))


def _planless(path: Path) -> list[Finding]:
    return [Finding("plan", str(path.parent), False, f"a training without its {folders.PLAN}")]


def _transfer(path: Path) -> list[Finding]:
    sealed = read_sealed(path)[1]
    return [Finding("transfer", str(path), True, "its seal") if sealed else lacking("transfer", path, "no seal")]


def _alone(path: Path, images: Images) -> list[Finding]:
    """An evaluation of a file's weights, or of the zoo's."""
    found = evaluation(path, None, images)
    weights = evaluated_file(path)
    if weights is None or any(each.passed is False and each.what == "evaluation" for each in found):
        return found
    given = str(read_json(path).get("weights_sha256", ""))
    if "+" in given:  # an ensemble's files
        return [*found, lacking("weights", weights, "an ensemble, whose files are not checked")]
    return [*found, hashed("weights", weights, given)]


def refuse(found: Sequence[Finding]) -> None:
    """Nothing, if nothing disagrees.

    Raises:
        DisagreesError: naming each file and its values.
    """
    wrong = [each for each in found if each.passed is False]
    if wrong:
        lines = "\n".join(f"  {each.file}: {each.what}: {each.found}" for each in wrong)
        raise DisagreesError(f"{len(wrong)} of {len(found)} checks disagree:\n{lines}")
