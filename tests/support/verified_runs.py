"""A few finished seeds to verify, and what happens to files on disks and in editors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robench_fire.devices import meters
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.files import SEAL, sealed, write_json
from robench_fire.launching.seed import Workplace, judge_seed, run_seed
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import Run, find
from robench_fire.verification.finding import Finding
from robench_fire.verification.verify import verify

CPU = torch.device("cpu")
Change = Callable[[list[Run]], None]
"""What is done to the seeds of a plan."""


def quiet(stage: str, done: int, total: int, note: str) -> None:
    pass


def finished(root: Path) -> Path:
    """Two seeds with hidden labels, attacked on 40 images; trained so little that some stand and some do not.

    Made once below ``root``; not to be changed.
    """
    if root.exists():
        return root
    request = Request(defense="rst_adv", dataset="digits", epochs=2, hide_labels=True)
    place, wanted = Workplace(output=root, data=root, device="cpu"), Evaluations(examples=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(meters.SIZES, "cpu", meters.SIZES["cpu"][:1])  # the larger product takes half a second
        for step in (run_seed, judge_seed):
            for seed in range(2):
                step(request, seed, wanted, place, quiet)
    return root


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def verified(folder: Path, recompute: int | None = None) -> list[Finding]:
    """``robench verify FOLDER`` without its command line."""
    return verify(folder, folder, recompute, CPU, quiet)


def wrong(found: list[Finding]) -> dict[str, str]:
    """What disagrees, by what was checked."""
    said: dict[str, str] = {}
    for each in found:
        if each.passed is False:
            said[each.what] = f"{said.get(each.what, '')}{Path(each.file).name}: {each.found}\n"
    return said


def seeds(folder: Path) -> list[Run]:
    return find(folder)


def the(run: Run, pattern: str) -> Path:
    """The one file of a run that is called like that."""
    (path,) = run.folder.glob(pattern)
    return path


def bit(pattern: str, place: int = -1) -> Change:
    """Flip a bit of a file of the first seed."""

    def change(runs: list[Run]) -> None:
        path = the(runs[0], pattern)
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)

    return change


def edited(pattern: str, *keys: str, value: Any, again: bool = False) -> Change:
    """Give a value of a JSON of the first seed another one; ``again``: and seal it, as whoever edits it could."""

    def change(runs: list[Run]) -> None:
        path = the(runs[0], pattern)
        told = json.loads(path.read_text(encoding="utf-8"))
        at = told
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value
        write_json(path, sealed(told) if again else told)

    return change


def exchanged(pattern: str) -> Change:
    """The first two seeds have each other's file."""

    def change(runs: list[Run]) -> None:
        one, other = (the(run, pattern) for run in runs[:2])
        kept = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(kept)

    return change


def seeds_exchanged(runs: list[Run]) -> None:
    """Whole folders have each other's name."""
    one, other = (run.folder for run in runs[:2])
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def shorter_masks(runs: list[Run]) -> None:
    path = the(runs[0], "eval.aa*.npy")
    np.save(path, np.load(path)[:, :-1])


def as_before_seals(runs: list[Run]) -> None:
    """Run folders as older versions left them: no seal, no hash of anything but weights and test images."""
    added = (SEAL, "masks_sha256", "perturbed_sha256", "log_sha256", "code", "seed", "plan", "curve_sha256",
             "pseudo_labels_sha256")  # fmt: skip
    for run in runs:
        for path in run.folder.glob("*.json"):
            kept = ("seed",) if path.name.startswith("eval.") else ()
            if path.name != "plan.json":
                told = json.loads(path.read_text(encoding="utf-8"))
                write_json(path, {name: each for name, each in told.items() if name not in added or name in kept})
