"""A bundle on disk: what is taken from a run into it, and how it is read again. Everything else in it is rendered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from robench_fire.data import to_float
from robench_fire.dataset import Split, head
from robench_fire.errors import DataError
from robench_fire.evaluation import images
from robench_fire.files import as_json, sha256, write_json, write_text
from robench_fire.model_info import from_model_info, to_model_info
from robench_fire.runs import Run, read_json
from robench_fire.schema import NAME
from robench_fire.submission.claim import DRAFT, Claim, Missing
from robench_fire.submission.draft import marked

SUMS = "SHA256SUMS"
CHECKED = "evidence/robustbench_check.json"
PERTURBED = "evidence/adv_examples.pt"
"""Left out of a draft whose evaluation has kept none."""
TAKEN = ("evidence/autoattack.log", "evidence/aa_summary.json", "evidence/masks.npy",
         "evidence/reliability.json", "evidence/admission.json", CHECKED, "provenance/train.json",
         "provenance/curve.jsonl", "provenance/row.json", "provenance/submission.json", "CHECKLIST.md")  # fmt: skip
"""What cannot be rendered from the rest, beside the checkpoints and what is PERTURBED."""


def checkpoints(folder: Path, name: str) -> tuple[Path, Path]:
    """The .safetensors and the .pt of a bundle."""
    return folder / "checkpoint" / f"{name}.safetensors", folder / "checkpoint" / f"{name}.pt"


def take(claim: Claim, run: Run, test: Split, older: Path, out: Path) -> None:
    """Copy what was measured into the new bundle ``out``. ``older``: where an earlier one may lie.

    Raises:
        DataError: if a file of the run is missing or does not fit the evaluation.
    """
    for folder in ("checkpoint", "evidence", "provenance"):
        (out / folder).mkdir(parents=True)
    _take_checkpoint(claim, run, older, out)
    _take_evidence(claim, run, test, out / "evidence")
    for name in ("train.json", "curve.jsonl"):
        shutil.copyfile(run.folder / name, out / "provenance" / name)
    write(claim, out)
    if claim.missing:
        for name in ("provenance/train.json", "evidence/autoattack.log"):
            write_text(out / name, marked(name, (out / name).read_text(encoding="utf-8"), claim.missing))


def write(claim: Claim, out: Path) -> None:
    """Put what ``read`` finds again into a bundle."""
    row, facts = to_model_info(claim.row), dict(claim.facts)
    if claim.missing:
        row["footnote"] = f"{DRAFT}. {row['footnote']}"
    write_json(out / "provenance" / "row.json", row)
    write_json(out / "provenance" / "row.json", row)
    told: dict[str, Any] = {
        "format": 1,
        "name": claim.name,
        "link": claim.link,
        "synthetic": claim.synthetic,
        "seed": claim.seed,
    }
    told["validation"] = {str(seed): value for seed, value in claim.validation.items()}
    told["missing"] = [each._asdict() for each in claim.missing]
    made = {
        "evidence/reliability.json": facts.pop("reliability"),
        "evidence/aa_summary.json": facts,
        "provenance/submission.json": told,
    }
    for name, value in made.items():
        write_text(out / name, marked(name, as_json(value), claim.missing))


def read(folder: Path) -> Claim:
    """The claim of a bundle.

    Raises:
        DataError: if it cannot be read, naming the file.
    """
    names = ("provenance/submission.json", "evidence/aa_summary.json", "evidence/reliability.json")
    told, facts, reliability = (
        {key: value for key, value in read_json(folder / name).items() if key != "draft"} for name in names
    )
    try:
        if not NAME.fullmatch(name := str(told["name"])):
            raise ValueError(name)
        return Claim(
            name=name, link=str(told["link"]), synthetic=str(told["synthetic"]), seed=int(told["seed"]),
            validation={int(seed): float(value) for seed, value in told["validation"].items()},
            row=from_model_info(folder / "provenance" / "row.json"),
            facts=facts | {"reliability": reliability},
            missing=tuple(Missing(str(each["what"]), str(each["fix"])) for each in told.get("missing", [])),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise DataError(f"{folder / 'provenance/submission.json'} cannot be read ({fault!r})") from None


def _take_checkpoint(claim: Claim, run: Run, older: Path, out: Path) -> None:
    """The weights as they were evaluated, byte for byte, and as RobustBench's loader reads them.

    An older .pt of the same tensors stays as it is: its bytes depend on torch's version, and it may be uploaded.
    """
    stored, flat = checkpoints(out, claim.name)
    shutil.copyfile(run.weights, stored)
    if sha256(stored) != claim.facts["weights_sha256"]:
        raise DataError(f"{run.weights} is not what was evaluated; evaluate the run again: `robench eval`")
    before = checkpoints(older, claim.name)[1]
    weights = plain_weights(stored)
    if before.exists() and same(torch.load(before, map_location="cpu", weights_only=True), weights):
        shutil.copyfile(before, flat)
    else:
        torch.save(weights, flat)


def plain_weights(stored: Path) -> dict[str, Tensor]:
    """A flat state dict in float32."""
    weights: dict[str, Tensor] = load_file(stored)
    return {name: value.float() if value.is_floating_point() else value for name, value in sorted(weights.items())}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts hold the same tensors."""
    return set(one) == set(other) and all(
        one[name].dtype == value.dtype and torch.equal(one[name], value) for name, value in other.items()
    )


def _take_evidence(claim: Claim, run: Run, test: Split, folder: Path) -> None:
    stem = run.folder / f"eval.{claim.facts['name']}"
    log, masks = stem.with_name(f"{stem.name}.log"), stem.with_name(f"{stem.name}.npy")
    for path in (log, masks):
        if not path.exists():
            raise DataError(f"{path} is missing; move {stem.name}.json away and evaluate the run again: `robench eval`")
    shutil.copyfile(log, folder / "autoattack.log")
    shutil.copyfile(masks, folder / "masks.npy")
    clean, robust = np.load(masks, allow_pickle=False)
    kept = stem.with_name(f"{stem.name}.adv.safetensors")
    if claim.missing and not kept.exists():
        return
    index, found = images.read(kept)
    if not np.array_equal(np.sort(index), np.flatnonzero(clean & ~robust)):
        raise DataError(
            f"{kept} holds other images than were broken; move it and {stem.name}.json away and evaluate again"
        )
    perturbed = to_float(head(test, len(clean)).images)
    perturbed[torch.from_numpy(index)] = torch.from_numpy(found).reshape(-1, *perturbed.shape[1:])
    torch.save(perturbed, folder / Path(PERTURBED).name)


def sum_up(out: Path) -> None:
    """Write the hash of every file, for `sha256sum -c`."""
    write_text(out / SUMS, "".join(f"{sha256(out / name)}  {name}\n" for name in sorted(contents(out))))


def sums(folder: Path) -> dict[str, str]:
    """The hash that was given to each file of a bundle, by its path in it.

    Raises:
        DataError: if they cannot be read.
    """
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise DataError(f"{folder / SUMS} cannot be read ({type(fault).__name__})") from None
    lines = (line.partition("  ") for line in text.splitlines())
    return {path: digest for digest, _, path in lines}


def contents(folder: Path) -> set[str]:
    """The paths in it of all files of a bundle but the hashes'."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {SUMS}


def changed(folder: Path) -> list[str]:
    """Files of a bundle that have another hash than they were given, or none."""
    given = sums(folder)
    return sorted(name for name in contents(folder) if sha256(folder / name) != given.get(name))


def replace(fresh: Path, out: Path) -> None:
    """Put a finished bundle where an older one may be, which goes only when the new one is in its place."""
    if out.exists() and not any(out.iterdir()):  # perhaps somebody's working folder
        for each in fresh.iterdir():
            each.rename(out / each.name)
        fresh.rmdir()
        return
    aside = out.with_name(f".{out.name}.older")
    shutil.rmtree(aside, ignore_errors=True)
    if out.exists():
        out.rename(aside)
    fresh.rename(out)
    shutil.rmtree(aside, ignore_errors=True)
