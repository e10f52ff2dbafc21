"""Evaluating weights on disk, of a run or of anyone: which test images, which attacks, and where the masks go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robench_fire import checkpoints, fetch, models, provenance, registry, runs
from robench_fire.dataset import Dataset, Split, head
from robench_fire.devices import use
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluate import ATTACKS, Result, evaluate, percent
from robench_fire.files import sha256
from robench_fire.quantity import Quantity
from robench_fire.reporting import Event, Report
from robench_fire.runs import Run
from robench_fire.threat import L2, Linf, Threat

_THREATS: dict[str, type[Linf] | type[L2]] = {"Linf": Linf, "L2": L2}


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """Which evaluations to run, on the first ``examples`` test images (None: the data set's default)."""

    attacks: tuple[str, ...] = ATTACKS
    examples: int | None = None
    seed: int = 0
    batch_size: int = runs.BATCH_SIZE
    norm: str = ""  # default: the norm and radius that the row claims
    eps: str = ""

    def threat(self, claim: Threat) -> Threat:
        """The threat model to evaluate under.

        Raises:
            UsageError: for another norm than the claimed one without a radius, or a radius that cannot be.
        """
        if self.norm and self.norm != claim.norm and not self.eps:
            raise UsageError(f"--norm {self.norm} needs --eps: the claim is {claim.norm} {claim.eps}")
        try:
            return _THREATS[self.norm or claim.norm](eps=Quantity(self.eps) if self.eps else claim.eps)
        except ValueError as fault:
            raise UsageError(f"--eps {self.eps}: {fault}") from None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Weights to evaluate; results go to ``stem``.<name>.json and .npy."""

    weights: Path
    stem: Path
    dataset: str
    arch: str
    normalise: str
    claim: Threat

    def parts(self) -> Dataset:
        dataset: Dataset = registry.load("datasets", self.dataset).module.DATASET
        return dataset


def subject_of(run: Run) -> Subject:
    """A run's weights, as its plan.json describes them.

    Raises:
        DataError: if the plan is missing or broken.
    """
    plan = run.read("plan.json")
    claim, recipe = plan["claim"], plan["recipe"]
    return Subject(
        weights=run.weights,
        stem=run.folder / "eval",
        dataset=plan["dataset"],
        arch=recipe["arch"],
        normalise=recipe["normalise"],
        claim=_THREATS[claim["kind"]](eps=Quantity(claim["eps"])),
    )


def subject_from_file(path: Path, dataset: str, arch: str) -> Subject:
    """Someone's checkpoint, claimed at the data set's default radius; inputs are not normalised."""
    found = registry.load("datasets", dataset)
    claim = next(iter(found.module.DATASET.recipes))
    stem = path.with_name(f"{path.stem}.eval")
    return Subject(weights=path, stem=stem, dataset=found.name, arch=arch, normalise="none", claim=claim)


def subjects(path: Path, dataset: str, arch: str) -> list[Subject]:
    """What lies at ``path``: the trained runs at or below a folder, or one checkpoint file.

    Raises:
        UsageError: if a file comes without ``dataset`` and ``arch``, or a folder with one of them.
        DataError: if there is nothing to evaluate.
    """
    if path.is_dir():
        if dataset or arch:
            raise UsageError(f"{path} is a run folder, which knows its own: leave out --dataset and --arch")
        found = [subject_of(run) for run in runs.find(path) if run.trained]
        if not found:
            raise DataError(f"{path} holds no trained run; `robench ls runs` lists them")
        if len({each.dataset for each in found}) > 1:
            raise UsageError(f"{path} holds runs of several data sets; name one of its folders")
        return found
    if not path.exists():
        raise DataError(f"{path} does not exist; `robench ls runs` lists the runs")
    if not (dataset and arch):
        raise UsageError(f"{path} is a file: say what it is with --dataset and --arch (`robench ls archs`)")
    return [subject_from_file(path, dataset, arch)]


def assess(
    found: Sequence[Subject],
    evaluations: Evaluations,
    data: Path,
    device: torch.device,
    listening: Callable[[int, str], AbstractContextManager[Callable[[Event], None]]],
) -> list[dict[str, Any]]:
    """Evaluate several weights of one data set in turn; the facts of every evaluation, with the weights' path."""
    evaluations.threat(found[0].claim)  # a mistake is found before anything is read
    use(device)
    test = fetch.splits(found[0].dataset, found[0].parts(), data).test
    facts = []
    with listening(len(found), "weights") as listen:
        for subject in found:
            name = f"{subject.weights.parent.name}/{subject.weights.name}"

            def report(stage: str, done: int, total: int, note: str, name: str = name) -> None:
                listen(Event(name, stage, done, total, note))

            alone = Run(subject.weights.parent).locked() if subject.stem.name == "eval" else nullcontext()
            with alone:
                made = evaluate_subject(subject, test, evaluations, device, report)
            report("done", 1, 1, "")
            facts += [{"weights": str(subject.weights), **each} for each in made]
    return facts


def evaluate_subject(
    subject: Subject, test: Split, evaluations: Evaluations, device: torch.device, report: Report
) -> list[dict[str, Any]]:
    """Run the evaluations that are not on disk yet for these weights; the facts of all that were asked for.

    Raises:
        DataError: if the weights cannot be read or do not fit the architecture.
    """
    if not evaluations.attacks:
        return []
    dataset, threat = subject.parts(), evaluations.threat(subject.claim)
    if "aa" in evaluations.attacks and dataset.num_classes < 4:
        raise UsageError(f"AutoAttack needs at least 4 classes, more than {subject.dataset} has; use --attack pgd20")
    build = partial(
        models.build, subject.arch, dataset.shape, dataset.num_classes, subject.normalise, dataset.mean,
        dataset.std,
    )  # fmt: skip
    model = checkpoints.load(subject.weights, build, device)
    weights = sha256(subject.weights)
    test = head(test, evaluations.examples or dataset.examples).to(device)
    facts = []
    for attack in evaluations.attacks:
        name = runs.evaluation_name(
            attack, threat.norm, str(threat.eps), len(test.labels), evaluations.seed, evaluations.batch_size
        )
        stem = subject.stem.with_name(f"{subject.stem.name}.{name}")
        stored = stem.with_name(stem.name + ".json")
        if not (stored.exists() and runs.read_json(stored)["weights_sha256"] == weights):
            result = evaluate(
                attack, model, test, threat, num_classes=dataset.num_classes, seed=evaluations.seed,
                batch_size=evaluations.batch_size, progress=partial(report, f"evaluate {attack}"),
            )  # fmt: skip
            about = _facts(name, attack, threat, evaluations, result, device) | {"weights_sha256": weights}
            runs.write_evaluation(stem, np.stack([result.clean.numpy(), result.robust.numpy()]), about)
        facts.append(runs.read_json(stored))
    return facts


def _facts(
    name: str, attack: str, threat: Threat, evaluations: Evaluations, result: Result, device: torch.device
) -> dict[str, Any]:
    return {
        "name": name,
        "attack": attack,
        "norm": threat.norm,
        "eps": str(threat.eps),
        "examples": len(result.clean),
        "seed": evaluations.seed,
        "batch_size": evaluations.batch_size,
        "clean": percent(result.clean),
        "robust": percent(result.robust),
        "after": result.after,
        "flags": result.flags,
        "seconds": result.seconds,
        "versions": provenance.versions(),
        "device": provenance.device_name(device),
    }
