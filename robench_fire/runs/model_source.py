"""What can be evaluated: the weights of a run, a checkpoint file, a model of RobustBench's zoo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from robench_fire.data.own.dataset import known
from robench_fire.errors import DataError, UsageError
from robench_fire.files import sha256
from robench_fire.models import architectures, checkpoints, normalisation, robustbench_zoo
from robench_fire.models.names import ARCHS
from robench_fire.models.own import network, text
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset
from robench_fire.problem.own_data import OwnData, own_data
from robench_fire.problem.threat import THREATS, Threat
from robench_fire.quantity import Quantity
from robench_fire.runs import folders
from robench_fire.runs.folders import Run

ZOO = "rb:"


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Weights to evaluate; results go to ``stem``.<name>.json and .npy.

    ``arch`` is one of ours, or "rb:NAME" for a model of RobustBench's zoo, whose folder ``weights`` lies in.
    ``normalise``: the layer in front of the network, see models.normalisation.layer. ``key``: where in a file the
    network's tensors are, "" for the file as a whole. ``notes``: what a user should know of how a file was read.
    """

    weights: Path
    stem: Path
    dataset: str
    arch: str
    normalise: str
    claim: Threat
    trained: Threat  # the threat model of its training, where that is known; else the claim
    key: str = ""
    notes: tuple[str, ...] = ()
    data: OwnData | None = None  # of a run on images of the user's own

    def parts(self) -> Dataset:
        return known(self.dataset, self.data, self.claim.eps)

    def load(self, device: torch.device) -> nn.Module:
        """The model with its weights, in eval mode, its parameters frozen.

        Raises:
            DataError: if the weights cannot be read or do not fit the architecture.
        """
        if self.arch.startswith(ZOO):
            folder = self.weights.parent.parent.parent
            model = robustbench_zoo.load(folder, self.arch.removeprefix(ZOO), self.dataset, self.claim.norm)
        else:
            model = self._read()
        return model.to(device).eval().requires_grad_(False)

    def _read(self) -> nn.Module:
        """A run's weights hold the layer that normalises; of a file's, only the network's tensors are taken."""
        parts, network = self.parts(), architectures.builder(self.arch, self.parts().shape)
        if self.run:
            build = partial(
                architectures.build, self.arch, parts.shape, parts.num_classes, self.normalise, parts.mean, parts.std
            )
            return checkpoints.load(self.weights, build, torch.device("cpu"))
        build = partial(network, parts.shape, parts.num_classes)
        model = checkpoints.load(self.weights, build, torch.device("cpu"), self.key)
        first = normalisation.layer(self.normalise, parts.mean, parts.std)
        return model if first is None else nn.Sequential(first, model)

    def sha256(self) -> str:
        """Of the weights; of an ensemble's, all in turn."""
        if not self.arch.startswith(ZOO):
            return sha256(self.weights)
        folder = self.weights.parent.parent.parent
        entry = (self.arch.removeprefix(ZOO), self.dataset, self.claim.norm)
        found = robustbench_zoo.files(folder, *entry)
        if not all(path.exists() for path in found):
            robustbench_zoo.load(folder, *entry)  # which brings them
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


def source_of(run: Run) -> ModelSource:
    """A run's weights, as its plan.json describes them.

    Raises:
        DataError: if the plan is missing or broken, or the weights are not there.
        RecipeError: if its network's code is the user's own, and no longer there as it was.
    """
    if not run.weights.exists():
        raise DataError(f"{run.weights} is not here: bring it back, or move train.json away to train the seed again")
    plan = run.read("plan.json")
    recipe = plan["recipe"]
    if text.read(recipe["arch"]):
        network.found_of(recipe["arch"], run.folder)
    claim, trained = (THREATS[each["kind"]](eps=Quantity(each["eps"])) for each in (plan["claim"], plan["threat"]))
    return ModelSource(
        weights=run.weights,
        stem=run.folder / "eval",
        dataset=plan["dataset"],
        arch=recipe["arch"],
        normalise=recipe["normalise"],
        claim=claim,
        trained=trained,
        data=own_data(plan.get("data")),
    )


def source_from_file(
    path: Path, dataset: str, arch: str, how: str = "", key: str = "", images: tuple[OwnData, Quantity] | None = None
) -> ModelSource:
    """Someone's checkpoint, claimed at the data set's default radius; or, on the user's own ``images``, at theirs.

    ``how``: the normalisation in front of the network, "" for the one that the file holds, or else none. ``key``: which
    of several weights in the file, see checkpoints.find.

    Raises:
        UsageError: for a normalisation that is none, or another than the file holds.
        DataError: if the file cannot be read or does not fit the architecture.
    """
    parts = known(dataset, *(images or (None,)))
    try:
        weights = checkpoints.find(path, architectures.shapes(arch, parts.shape, parts.num_classes), key)
    except checkpoints.MisfitError as fault:
        raise DataError(f"{fault}{_likely(path, parts, arch)}") from None
    own = ":".join(",".join(map(str, side)) for side in (weights.mean, weights.std) if side)
    try:
        first = normalisation.layer(how or own or "none", parts.mean, parts.std)
    except ValueError as fault:
        raise UsageError(f"--normalise {fault}") from None
    if how and own:
        raise UsageError(f"--normalise {how}: {path} holds its own normalisation, {own}; leave --normalise out")
    claim = next(iter(parts.recipes))
    parted = [path.name, key, f"normalise-{how.replace(':', '_')}" if how not in ("", "none") else ""]
    stem = path.with_name(".".join([*(each for each in parted if each), "eval"]))
    return ModelSource(
        weights=path, stem=stem, dataset=images[0].name if images else registry.canonical(dataset), arch=arch,
        normalise=(how or own or "none").replace(" ", ""),
        claim=claim, trained=claim, key=weights.key, notes=_notes(path, weights, own, first is not None),
        data=images[0] if images else None,
    )  # fmt: skip


def _notes(path: Path, weights: checkpoints.Weights, own: str, normalised: bool) -> tuple[str, ...]:
    notes = []
    if weights.others:
        kept = weights.key or "those at the top"
        notes.append(
            f"{path} holds several weights that fit: {kept} were taken, --checkpoint-key chooses "
            + ", ".join(weights.others)
        )
    if own:
        notes.append(f"{path} normalises images by its first layer, {own}: that is done here too")
    if weights.behind and not normalised:
        notes.append(
            f"{path}: in front of the network stood a layer without weights; if it normalised each image, "
            "say --normalise image"
        )
    if not weights.others and set(weights.key.split(".")) - {"", "module", "_orig_mod", "1"}:
        notes.append(f"{path}: the weights at {weights.key} were taken")
    if weights.kinds:
        notes.append(f"{path} holds {' and '.join(weights.kinds)} numbers: they are taken as float32")
    return tuple(notes)


def _likely(path: Path, parts: Dataset, arch: str) -> str:
    """What a file that does not fit ``arch`` may be instead."""
    known = {
        name: architectures.shapes(name, parts.shape, parts.num_classes) for name in architectures.bundled(parts.shape)
    }
    fits = [name for name in checkpoints.fitting(path, known) if name != arch]
    return f"; it is {' or '.join(fits)}: say --arch {fits[0]}" if fits else "; check --arch and --dataset"


def source_from_zoo(name: str, dataset: str, norm: str, folder: Path) -> ModelSource:
    """A model of RobustBench's zoo, claimed at the data set's usual radius.

    Raises:
        UsageError: if the zoo has no such model, or we do not have its data set.
    """
    dataset, norm = robustbench_zoo.find(name, dataset, norm)
    weights = robustbench_zoo.files(folder, name, dataset, norm)[0]
    recipes = registry.load("datasets", dataset).module.DATASET.recipes
    claim = next((threat for threat in recipes if threat.norm == norm), None)
    if claim is None:
        raise UsageError(f"rb:{name}: {dataset} has no {norm} threat model here")
    stem = weights.with_name(f"{weights.name}.eval")
    return ModelSource(
        weights=weights, stem=stem, dataset=dataset, arch=ZOO + name, normalise="none", claim=claim, trained=claim
    )


def model_sources(
    named: str, dataset: str, arch: str, norm: str, zoo_folder: Path, how: str = "", key: str = "",
    images: tuple[OwnData, Quantity] | None = None,
) -> list[ModelSource]:  # fmt: skip
    """What ``named`` names: trained runs at or below a folder, a checkpoint file, ARCH:FILE, or rb:NAME.

    ``how``, ``key`` and ``images``: of a file, see source_from_file.

    Raises:
        UsageError: if a file comes without ``dataset`` and ``arch``, or a folder or a zoo's model with what it knows.
        DataError: if there is nothing to evaluate.
    """
    prefix, colon, rest = named.partition(":")
    with_arch = bool(colon) and (prefix in ARCHS or bool(re.match(r"wrn-\d+-\d+$|timm/", prefix)))
    if arch and (with_arch or named.startswith(ZOO)):
        raise UsageError(f"{named} says its architecture; leave out --arch")
    path = Path(rest if with_arch else named)
    given = [flag for flag, value in (("--normalise", how), ("--checkpoint-key", key)) if value]
    if given and (named.startswith(ZOO) or path.is_dir()):
        raise UsageError(f"{named} knows its own weights and normalisation: leave out {' and '.join(given)}")
    if named.startswith(ZOO):
        return [source_from_zoo(named.removeprefix(ZOO), dataset, norm, zoo_folder)]
    arch = prefix if with_arch else network.declared(arch)[0]
    if path.is_dir():
        return _runs(path, dataset, arch)
    if not path.exists():
        raise DataError(f"{path} does not exist; `robench ls runs` lists the runs")
    if not (dataset and arch):
        raise UsageError(f"{path} is a file: {_unsaid(dataset, arch)}")
    return [source_from_file(path, dataset, arch, how, key, images)]


def _unsaid(dataset: str, arch: str) -> str:
    """What must be said of a file, and how."""
    sets = f"its data set with --dataset ({', '.join(registry.names('datasets'))})"
    its_arch = "its architecture with --arch, or as ARCH:FILE (`robench ls archs`)"
    return f"say {' and '.join(text for known, text in ((dataset, sets), (arch, its_arch)) if not known)}"


def _runs(path: Path, dataset: str, arch: str) -> list[ModelSource]:
    """``arch``: of the user's own, where else the code of these runs' network is."""
    own = text.read(arch)
    if dataset or (arch and own is None):
        raise UsageError(f"{path} is a run folder, which knows its own: leave out --dataset and --arch")
    every = [run for run in folders.find(path) if run.trained]
    for run in every if own else ():
        its = text.read(run.read("plan.json")["recipe"]["arch"])
        if own and (its is None or (its.digest, its.name) != (own.digest, own.name)):
            raise UsageError(f"{run.folder} was trained with {its or 'no network of your own'}; --arch is {own}")
    found = [source_of(run) for run in every]
    if not found:
        renamed = (path / "plan.json").exists() and not re.fullmatch(r"seed-\d+", path.resolve().name)
        why = "is not named seed-N, as a run's folder must be" if renamed else "holds no trained run"
        raise DataError(f"{path} {why}; `robench ls runs` lists them")
    if len({(each.dataset, each.data) for each in found}) > 1:
        raise UsageError(f"{path} holds runs of several data sets; name one of its folders")
    return found
