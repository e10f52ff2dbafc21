"""What can be evaluated: the weights of a run, a checkpoint file, a model of RobustBench's zoo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from robench_fire import checkpoints, models, registry, runs, zoo
from robench_fire.archs import ARCHS
from robench_fire.dataset import Dataset
from robench_fire.errors import DataError, UsageError
from robench_fire.files import sha256
from robench_fire.quantity import Quantity
from robench_fire.runs import Run
from robench_fire.threat import THREATS, Threat

ZOO = "rb:"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Weights to evaluate; results go to ``stem``.<name>.json and .npy.

    ``arch`` is one of ours, or "rb:NAME" for a model of RobustBench's zoo, whose folder ``weights`` lies in.
    """

    weights: Path
    stem: Path
    dataset: str
    arch: str
    normalise: str
    claim: Threat
    trained: Threat  # the threat model of its training, where that is known; else the claim

    def parts(self) -> Dataset:
        dataset: Dataset = registry.load("datasets", self.dataset).module.DATASET
        return dataset

    def load(self, device: torch.device) -> nn.Module:
        """The model with its weights, in eval mode, its parameters frozen.

        Raises:
            DataError: if the weights cannot be read or do not fit the architecture.
        """
        if self.arch.startswith(ZOO):
            folder = self.weights.parent.parent.parent
            model = zoo.load(folder, self.arch.removeprefix(ZOO), self.dataset, self.claim.norm)
        else:
            parts = self.parts()
            build = partial(
                models.build, self.arch, parts.shape, parts.num_classes, self.normalise, parts.mean, parts.std
            )
            model = checkpoints.load(self.weights, build, device)
        return model.to(device).eval().requires_grad_(False)

    def sha256(self) -> str:
        """Of the weights; of an ensemble's, all in turn."""
        if not self.arch.startswith(ZOO):
            return sha256(self.weights)
        folder = self.weights.parent.parent.parent
        entry = (self.arch.removeprefix(ZOO), self.dataset, self.claim.norm)
        found = zoo.files(folder, *entry)
        if not all(path.exists() for path in found):
            zoo.load(folder, *entry)  # which brings them
        return "+".join(sha256(path) for path in found)

    @property
    def name(self) -> str:
        """As progress and tables call it: defense and seed, or the file's name."""
        run = self.run
        return f"{run.folder.parent.parent.name} seed {run.seed}" if run else self.weights.stem

    @property
    def run(self) -> Run | None:
        """The run that these are the weights of, if they are one's."""
        return Run(self.stem.parent) if self.stem.name == "eval" else None


def subject_of(run: Run) -> Subject:
    """A run's weights, as its plan.json describes them.

    Raises:
        DataError: if the plan is missing or broken, or the weights are not there.
    """
    if not run.weights.exists():
        raise DataError(f"{run.weights} is not here: bring it back, or move train.json away to train the seed again")
    plan = run.read("plan.json")
    recipe = plan["recipe"]
    claim, trained = (THREATS[each["kind"]](eps=Quantity(each["eps"])) for each in (plan["claim"], plan["threat"]))
    return Subject(
        weights=run.weights,
        stem=run.folder / "eval",
        dataset=plan["dataset"],
        arch=recipe["arch"],
        normalise=recipe["normalise"],
        claim=claim,
        trained=trained,
    )


def subject_from_file(path: Path, dataset: str, arch: str) -> Subject:
    """Someone's checkpoint, claimed at the data set's default radius; inputs are not normalised."""
    found = registry.load("datasets", dataset)
    claim = next(iter(found.module.DATASET.recipes))
    stem = path.with_name(f"{path.name}.eval")
    return Subject(weights=path, stem=stem, dataset=found.name, arch=arch, normalise="none", claim=claim, trained=claim)


def subject_from_zoo(name: str, dataset: str, norm: str, folder: Path) -> Subject:
    """A model of RobustBench's zoo, claimed at the data set's usual radius.

    Raises:
        UsageError: if the zoo has no such model, or we do not have its data set.
    """
    dataset, norm = zoo.find(name, dataset, norm)
    weights = zoo.files(folder, name, dataset, norm)[0]
    recipes = registry.load("datasets", dataset).module.DATASET.recipes
    claim = next((threat for threat in recipes if threat.norm == norm), None)
    if claim is None:
        raise UsageError(f"rb:{name}: {dataset} has no {norm} threat model here")
    stem = weights.with_name(f"{weights.name}.eval")
    return Subject(
        weights=weights, stem=stem, dataset=dataset, arch=ZOO + name, normalise="none", claim=claim, trained=claim
    )


def subjects(text: str, dataset: str, arch: str, norm: str, zoo_folder: Path) -> list[Subject]:
    """What ``text`` names: trained runs at or below a folder, a checkpoint file, ARCH:FILE, or rb:NAME.

    Raises:
        UsageError: if a file comes without ``dataset`` and ``arch``, or a folder or a zoo's model with what it knows.
        DataError: if there is nothing to evaluate.
    """
    prefix, colon, rest = text.partition(":")
    named = bool(colon) and (prefix in ARCHS or bool(re.match(r"wrn-\d+-\d+$|timm/", prefix)))
    if arch and (named or text.startswith(ZOO)):
        raise UsageError(f"{text} says its architecture; leave out --arch")
    if text.startswith(ZOO):
        return [subject_from_zoo(text.removeprefix(ZOO), dataset, norm, zoo_folder)]
    if named:
        text, arch = rest, prefix
    path = Path(text)
    if path.is_dir():
        return _runs(path, dataset, arch)
    if not path.exists():
        raise DataError(f"{path} does not exist; `robench ls runs` lists the runs")
    if not (dataset and arch):
        raise UsageError(
            f"{path} is a file: say what it is with --dataset and --arch, or as ARCH:FILE (`robench ls archs`)"
        )
    return [subject_from_file(path, dataset, arch)]


def _runs(path: Path, dataset: str, arch: str) -> list[Subject]:
    if dataset or arch:
        raise UsageError(f"{path} is a run folder, which knows its own: leave out --dataset and --arch")
    found = [subject_of(run) for run in runs.find(path) if run.trained]
    if not found:
        raise DataError(f"{path} holds no trained run; `robench ls runs` lists them")
    if len({each.dataset for each in found}) > 1:
        raise UsageError(f"{path} holds runs of several data sets; name one of its folders")
    return found
