"""A bundle on disk: what is taken from a run into it, and how it is read again. Everything else in it is rendered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from robench_fire.boards.model_info import from_model_info, to_model_info
from robench_fire.boards.schema import NAME
from robench_fire.data.batches import to_float
from robench_fire.errors import DataError
from robench_fire.evaluation import adversarial_images
from robench_fire.files import as_json, sha256, write_json, write_text
from robench_fire.problem.dataset import Split, head
from robench_fire.problem.threat import THREATS
from robench_fire.runs.folders import read_json, read_masks
from robench_fire.runs.model_source import ModelSource
from robench_fire.submission.claims.claim import DRAFT, PAPER, Claim, FileClaim, SeedClaim
from robench_fire.submission.claims.lacking import Missing
from robench_fire.submission.draft import marked

SUMS = "SHA256SUMS"
CHECKED = "evidence/robustbench_check.json"
PERTURBED = "evidence/adv_examples.pt"
"""Left out of a draft whose evaluation has kept none."""
TAKEN = ("evidence/autoattack.log", "evidence/aa_summary.json", "evidence/masks.npy",
         "evidence/reliability.json", "evidence/admission.json", CHECKED,
         "provenance/submission.json", "CHECKLIST.md")  # fmt: skip
"""What cannot be rendered from the rest, beside the checkpoints and what is PERTURBED."""
FACTS = {
    "name", "attack", "version", "versions", "norm", "eps", "seed", "examples", "clean", "robust", "after", "flags",
    "arch", "normalise", "weights_sha256", "images_sha256",
}  # fmt: skip
"""What must be known of an evaluation."""
TRAINED = ("provenance/train.json", "provenance/curve.jsonl", "provenance/row.json")
"""What is taken of a trained seed besides."""


def checkpoints(folder: Path, claim: Claim) -> tuple[Path, Path]:
    """The evaluated file of a bundle, and the .pt that RobustBench reads."""
    name = claim.name if isinstance(claim, SeedClaim) else "evaluated"
    suffix = ".safetensors" if isinstance(claim, SeedClaim) or claim.file.endswith(".safetensors") else ".pt"
    return folder / "checkpoint" / f"{name}{suffix}", folder / "checkpoint" / f"{claim.name}.pt"


def taken(claim: Claim) -> set[str]:
    """What of a bundle is not rendered, but for its checkpoints."""
    return {*TAKEN, PERTURBED, *(TRAINED if isinstance(claim, SeedClaim) else ())}


def take(claim: Claim, source: ModelSource, test: Split, older: Path, out: Path) -> None:
    """Copy what was measured of a ``source`` into the new bundle ``out``. ``older``: where an earlier one may lie.

    Raises:
        DataError: if a file is missing or does not fit the evaluation.
    """
    for folder in ("checkpoint", "evidence", "provenance"):
        (out / folder).mkdir(parents=True)
    _take_checkpoint(claim, source, older, out)
    _take_evidence(claim, source, test, out / "evidence")
    if source.run:
        for name in ("train.json", "curve.jsonl"):
            shutil.copyfile(source.run.folder / name, out / "provenance" / name)
    write(claim, out)
    for name in ("provenance/train.json", "evidence/autoattack.log"):
        if claim.missing and (out / name).exists():
            write_text(out / name, marked(name, (out / name).read_text(encoding="utf-8"), claim.missing))


def write(claim: Claim, out: Path) -> None:
    """Put what ``read`` finds again into a bundle."""
    facts = dict(claim.facts)
    told: dict[str, Any] = {"format": 1, "name": claim.name, "link": claim.link}
    told["missing"] = [each._asdict() for each in claim.missing]
    if isinstance(claim, SeedClaim):
        row = to_model_info(claim.row)
        if claim.missing:
            row["footnote"] = f"{DRAFT}. {row['footnote']}"
        write_json(out / "provenance" / "row.json", row)
        validation = {str(seed): value for seed, value in claim.validation.items()}
        told |= {"synthetic": claim.synthetic, "seed": claim.seed, "validation": validation}
    else:
        told |= {"file": claim.file, "dataset": claim.dataset, "paper": claim.paper}
        told |= {"additional_data": claim.additional_data}
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
    if facts.get("norm") not in THREATS:  # it becomes part of a path
        raise DataError(f"{folder / names[1]} names no norm of {', '.join(THREATS)}")
    if lacks := sorted(FACTS - set(facts)):
        raise DataError(f"{folder / names[1]} has no {', '.join(lacks)}")
    if told.get("format") != 1:
        raise DataError(f"{folder / names[0]} is of format {told.get('format')}; this robench reads format 1")
    try:
        if not NAME.fullmatch(name := str(told["name"])):
            raise ValueError(name)
        common: dict[str, Any] = {
            "name": name, "link": str(told["link"]), "facts": facts | {"reliability": reliability},
            "missing": tuple(Missing(str(each["what"]), str(each["fix"])) for each in told.get("missing", [])),
        }  # fmt: skip
        if "file" in told:
            return FileClaim(
                **common, file=str(told["file"]), dataset=str(told["dataset"]),
                paper={key: str(told["paper"][key]) for key in PAPER}, additional_data=bool(told["additional_data"]),
            )  # fmt: skip
        return SeedClaim(
            **common, synthetic=str(told["synthetic"]), seed=int(told["seed"]),
            validation={int(seed): float(value) for seed, value in told["validation"].items()},
            row=from_model_info(folder / "provenance" / "row.json"),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise DataError(f"{folder / 'provenance/submission.json'} cannot be read ({fault!r})") from None


def _take_checkpoint(claim: Claim, source: ModelSource, older: Path, out: Path) -> None:
    """The weights as they were evaluated, byte for byte, and as RobustBench's loader reads them.

    An older .pt of the same tensors stays as it is: its bytes depend on torch's version, and it may be uploaded.
    """
    stored, flat = checkpoints(out, claim)
    shutil.copyfile(source.weights, stored)
    if sha256(stored) != claim.facts["weights_sha256"]:
        raise DataError(f"{source.weights} is not what was evaluated; evaluate it again: `robench eval`")
    before = checkpoints(older, claim)[1]
    weights = plain_weights(claim, stored)
    if before.exists() and same(torch.load(before, map_location="cpu", weights_only=True), weights):
        shutil.copyfile(before, flat)
    else:
        torch.save(weights, flat)


def plain_weights(claim: Claim, stored: Path) -> dict[str, Tensor]:
    """A flat state dict in float32 of what was evaluated, a layer in front that normalises included."""
    if isinstance(claim, SeedClaim):
        weights: dict[str, Tensor] = load_file(stored)
    else:
        weights = claim.source(stored).load(torch.device("cpu")).state_dict()
    return {
        name: (value.float() if value.is_floating_point() else value).contiguous()
        for name, value in sorted(weights.items())
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts hold the same tensors."""
    return set(one) == set(other) and all(
        one[name].dtype == value.dtype and torch.equal(one[name], value) for name, value in other.items()
    )


def _take_evidence(claim: Claim, source: ModelSource, test: Split, folder: Path) -> None:
    stem = source.stem.with_name(f"{source.stem.name}.{claim.facts['name']}")
    log, masks = stem.with_name(f"{stem.name}.log"), stem.with_name(f"{stem.name}.npy")
    for path in (log, masks):
        if not path.exists():
            raise DataError(f"{path} is missing; move {stem.name}.json away and evaluate the run again: `robench eval`")
    shutil.copyfile(log, folder / "autoattack.log")
    shutil.copyfile(masks, folder / "masks.npy")
    clean, robust = read_masks(masks)
    kept = stem.with_name(f"{stem.name}.adv.safetensors")
    if claim.missing and not kept.exists():
        return
    index, found = adversarial_images.read(kept)
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
