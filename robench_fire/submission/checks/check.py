"""Proving a bundle, offline, before a maintainer does: its files, what they say, and RobustBench's own code on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from robench_fire import stopping
from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.device import use
from robench_fire.errors import DataError, DisagreesError, RobenchError
from robench_fire.evaluation.reliability import Check
from robench_fire.files import sha256
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset, Split, head
from robench_fire.progress import Report
from robench_fire.runs.folders import read_json, read_masks
from robench_fire.submission import bundle
from robench_fire.submission.checks import evidence
from robench_fire.submission.checks.admission import admission
from robench_fire.submission.checks.proof import Proof, loaded
from robench_fire.submission.claims.claim import Claim, SeedClaim, admissible
from robench_fire.submission.texts import CHECKLIST, checklist, drive_id, rendered
from robench_fire.submission.zoo_entry import ZooEntry, entry_of, registered

AS_DRAFT = "claim, as a draft"
Step = Callable[[], list[Check]]


def check(folder: Path, data: Path, device: torch.device, examples: int, report: Report) -> list[Check]:
    """Everything that must hold of a bundle; ``examples``: test images that RobustBench's own benchmark attacks.

    Nothing in the folder is executed. Everything that can still be checked after a failure is.
    """
    use(device)
    found = tried("files", lambda: evidence.there(folder))
    try:
        if evidence.missing(folder):
            return found
        claim = bundle.read(folder)
        if lost := [path.name for path in bundle.checkpoints(folder, claim) if not path.is_file()]:
            raise DataError(f"missing: {', '.join(lost)}")
        parts = registry.load("datasets", claim.dataset).module.DATASET
        test = fetching.splits(claim.dataset, parts, data).test
        entry = entry_for(claim, parts)
    except (RobenchError, KeyError, TypeError, ValueError, AttributeError) as fault:
        said = str(fault) if isinstance(fault, RobenchError) else f"it cannot be read ({fault!r})"
        return [*found, Check("claim", False, said)]
    return [
        *found,
        *tried("claim", lambda: _admitted(claim)),
        *tried("evidence", lambda: evidence.agrees(folder, claim, test)),
        *tried("documents", lambda: evidence.as_rendered(folder, claim, _texts(folder, claim, entry, parts))),
        *tried("RobustBench's loader", lambda: _by_robustbench(folder, claim, entry, test, device, examples, report)),
    ]


def _texts(folder: Path, claim: Claim, entry: ZooEntry, parts: Dataset) -> dict[str, str]:
    """Every text that follows from the claim and from what the first check came to."""
    checkpoint = sha256(bundle.checkpoints(folder, claim)[1])
    first = read_json(folder / bundle.CHECKED)
    found = [Check(each["name"], each["passed"], each["found"]) for each in first["checks"]]
    left = checklist(claim, entry, checkpoint, found, first["robustbench"])
    return rendered(claim, entry, parts, checkpoint) | {CHECKLIST: left}


def entry_for(claim: Claim, parts: Dataset) -> ZooEntry:
    """The zoo entry that a claim asks for."""
    known = claim.row.plan["recipe"] if isinstance(claim, SeedClaim) else claim.facts
    norm, link = claim.facts["norm"], drive_id(claim.link)
    return entry_of(claim.name, claim.dataset, parts, norm, known["arch"], known["normalise"], link)


def tried(name: str, step: Step) -> list[Check]:
    """What a step found; where it broke, that."""
    stopping.check()
    try:
        return step()
    except RobenchError as fault:
        return [Check(name, False, str(fault))]
    except Exception as fault:  # whatever robustbench or a broken file raises
        said = str(fault).strip().split("\n")[0][:300]
        return [Check(name, False, f"{type(fault).__name__}: {said}")]


def _admitted(claim: Claim) -> list[Check]:
    admissible(claim)
    if claim.missing:
        return [Check(AS_DRAFT, True, f"not a submission; missing: {'; '.join(each.what for each in claim.missing)}")]
    return [
        Check("claim", True, f"{claim.name} on {claim.dataset} {claim.facts['norm']} {claim.facts['eps']}, reliable")
    ]


def _by_robustbench(
    folder: Path, claim: Claim, entry: ZooEntry, test: Split, device: torch.device, examples: int, report: Report
) -> list[Check]:
    on = head(test, claim.facts["examples"]).to(device)
    masks = read_masks(folder / "evidence" / "masks.npy")
    with registered(entry), loaded(folder, claim, device) as model:
        said = f"{type(model).__name__} with strict keys, by robustbench {version('robustbench')}"
        found = [Check("robustbench.utils.load_model", True, said)]
        proof = Proof(folder, claim, model, to_float(on.images), on.labels, masks, report)
        steps: dict[str, Step] = {
            "admission": lambda: admission(model, proof.x, proof.y),
            "clean accuracy by RobustBench": proof.clean,
            "perturbed images": proof.perturbed,
            "images claimed robust": proof.attacked,
            "robustbench.eval.benchmark": lambda: proof.benchmark(examples),
        }
        if claim.missing:  # a benchmark of few images proves nothing that the proofs before it do not
            del steps["robustbench.eval.benchmark"]
            if not (folder / bundle.PERTURBED).exists():
                del steps["perturbed images"]
        for name, step in steps.items():
            found += tried(name, step)
    return found


def refuse(found: Sequence[Check], folder: Path) -> None:
    """Nothing, if every check passed.

    Raises:
        DisagreesError: with the list of those that did not.
    """
    failed = [each for each in found if not each.passed]
    if failed:
        lines = "\n".join(f"  {each.name}: {each.found}" for each in failed)
        raise DisagreesError(f"{folder} cannot be submitted as it is:\n{lines}")
