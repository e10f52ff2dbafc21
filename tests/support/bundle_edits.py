"""What people do to a bundle, by mistake or to deceive."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from submission_runs import splits
from torch import Tensor

from robench_fire.boards.rows import Row
from robench_fire.data.batches import to_float
from robench_fire.files import SEAL, sealed, sha256, write_text
from robench_fire.problem import registry
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.statistics.masks import packed
from robench_fire.statistics.summary import percent
from robench_fire.submission.bundle import checkpoints, read, write
from robench_fire.submission.checks.check import entry_for
from robench_fire.submission.texts import rendered


def sum_up(bundle: Path) -> None:
    """Make the hashes of an edited bundle fit again, as whoever edits it could."""
    paths = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    write_text(bundle / "SHA256SUMS", "".join(f"{sha256(path)}  {path.relative_to(bundle)}\n" for path in paths))


def issued(bundle: Path, **changes: Any) -> None:
    """Change the claim of a bundle and everything that follows from it, as a forger could."""
    before = read(bundle)
    claim = replace(before, **changes)
    write(claim, bundle)
    if claim.name != before.name:
        (bundle / "model_info" / "cifar10" / "Linf" / f"{before.name}.json").unlink()
        for old, new in zip(checkpoints(bundle, before), checkpoints(bundle, claim), strict=True):
            old.rename(new)
    parts = registry.load("datasets", claim.dataset).module.DATASET
    checkpoint = sha256(checkpoints(bundle, claim)[1])
    for name, text in rendered(claim, entry_for(claim, parts), parts, checkpoint).items():
        write_text(bundle / name, text)
    sum_up(bundle)


def flipped(masks: Path, rows: int) -> tuple[float, float]:
    """Let a misclassified image count as correct (1) and as robust (2); what clean and robust accuracy are then."""
    found = np.load(masks)
    found[:rows, np.flatnonzero(~found[0])[0]] = True
    np.save(masks, found)
    clean, robust = map(percent, found)
    return clean, robust


Break = Callable[[Path], object]
"""What a test does to a bundle."""


def told(path: str, *keys: str | int, value: Any = None) -> Break:
    """Set a value in a JSON, and seal it again where it was."""

    def change(folder: Path) -> None:
        whole = inner = json.loads((folder / path).read_text())
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (folder / path).write_text(json.dumps(sealed(whole) if SEAL in whole else whole))

    return change


def text(path: str, old: str, new: str) -> Break:
    """Replace a text."""

    def change(folder: Path) -> None:
        before = (folder / path).read_text()
        assert old in before
        (folder / path).write_text(before.replace(old, new))

    return change


def byte(path: str, at: float) -> Break:
    """Flip every bit of one byte, so far into a file."""

    def change(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        content[int(at * len(content))] ^= 255
        (folder / path).write_bytes(content)

    return change


def tensors(path: str, change: Callable[[Any], Any]) -> Break:
    """Change what a .pt holds."""
    return lambda folder: torch.save(change(torch.load(folder / path)), folder / path)


def masks(change: Callable[[np.ndarray], object]) -> Break:
    def changed(folder: Path) -> None:
        found = np.load(folder / "evidence/masks.npy")
        change(found)
        np.save(folder / "evidence/masks.npy", found)

    return changed


def row(change: Callable[[Row], dict[str, Any]]) -> Break:
    """The same with the row of all seeds."""

    def changed(folder: Path) -> None:
        before = read(folder).row
        issued(folder, row=replace(before, **change(before)))

    return changed


def verdicts(verdict: str) -> Break:
    """Of another seed."""
    found = {"verdict": verdict, "reasons": []}
    return row(lambda before: {"facts": before.facts | {"verdicts": before.facts["verdicts"] | {"3": found}}})


def forged(change: Callable[[np.ndarray], object]) -> Break:
    """Change the masks, and every number that follows from them, the log's too."""

    def changed(folder: Path) -> None:
        claim = read(folder)
        masks(change)(folder)
        found = np.load(folder / "evidence/masks.npy")
        clean, robust = map(percent, found)
        after = dict.fromkeys(claim.facts["after"], robust)
        seeds = claim.row.per_seed | {0: claim.row.per_seed[0] | {"clean": clean, "robust": robust}}
        log = (folder / "evidence/autoattack.log").read_text()
        log = re.sub(r"(robust accuracy.*: )[\d.]+%", rf"\g<1>{robust:.2f}%", log)
        (folder / "evidence/autoattack.log").write_text(
            re.sub(r"(initial accuracy: )[\d.]+%", rf"\g<1>{clean:.2f}%", log)
        )
        facts = claim.facts | {"clean": clean, "robust": robust, "after": after}
        own = {name: packed(mask) for name, mask in zip(("clean", "robust"), found, strict=True)}
        more = {"masks": claim.row.facts["masks"] | {"0": own}}
        more["evaluator"] = claim.row.facts["evaluator"] | {"robust_intervals": {}}
        issued(
            folder,
            facts=facts,
            row=replace(claim.row, per_seed=seeds, facts=claim.row.facts | more),
        )

    return changed


def untrained(folder: Path) -> None:
    """Other weights, and every hash of them: only running the model can tell."""
    flat = {name: torch.zeros_like(value) for name, value in load_file(checkpoints(folder, read(folder))[0]).items()}
    save_file(flat, checkpoints(folder, read(folder))[0])
    torch.save(flat, checkpoints(folder, read(folder))[1])
    claim, digest = read(folder), sha256(checkpoints(folder, read(folder))[0])
    text("evidence/autoattack.log", claim.facts["weights_sha256"], digest)(folder)
    told("provenance/train.json", "weights_sha256", value=digest)(folder)
    weights = claim.row.facts["weights_sha256"] | {"0": digest}
    changed = replace(claim.row, facts=claim.row.facts | {"weights_sha256": weights})
    issued(folder, facts=claim.facts | {"weights_sha256": digest}, row=changed)


def at_16(folder: Path) -> None:
    """A radius without a board, wherever a radius stands."""
    claim = read(folder)
    text("evidence/autoattack.log", "eps 8/255", "eps 16/255")(folder)
    plan = claim.row.plan | {"claim": {"kind": "Linf", "eps": "16/255"}}
    own = {"plan": plan, "fingerprint": plan_fingerprint(plan)}
    changed = replace(claim.row, eps="16/255", facts=claim.row.facts | {"usual_eps": "16/255"}, **own)
    issued(folder, facts=claim.facts | {"eps": "16/255"}, row=changed)


def outside(x: Tensor) -> Tensor:
    x[3, 0, 0, 0] = (x[3, 0, 0, 0] + 0.1) % 1
    return x


def noisy(x: Tensor) -> Tensor:
    """A little in every image, inside the ball."""
    return (x + 1e-3).clamp(0, 1)


def clean_images(x: Tensor) -> Tensor:
    return to_float(splits().test.images)


def swapped(found: np.ndarray) -> None:
    """Another image is robust: the same accuracies."""
    clean, robust = found
    first, last = np.flatnonzero(robust)[0], np.flatnonzero(clean & ~robust)[-1]
    robust[[first, last]] = False, True


def shifted(found: np.ndarray) -> None:
    found[:] = np.roll(found, 1, 1)


def without(before: Row) -> dict[str, Any]:
    """The seed that is submitted was not evaluated."""
    return {"per_seed": {seed: each for seed, each in before.per_seed.items() if seed != 0}}


def all_robust(found: np.ndarray) -> None:
    found[1] = found[0]


def one_clean_more(found: np.ndarray) -> None:
    found[:, np.flatnonzero(~found[0])[0]] = True, False
