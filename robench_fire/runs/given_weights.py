"""Weights that a training is given: those it begins from (--start), and a teacher's (--teacher)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robench_fire.errors import DataError, RecipeError, UsageError
from robench_fire.files import sha256
from robench_fire.models import architectures, checkpoints
from robench_fire.models.architectures import last_layer
from robench_fire.problem.dataset import Dataset
from robench_fire.problem.plan import Plan
from robench_fire.problem.recipe import GivenWeights, Recipe
from robench_fire.runs.folders import MORE_DATA, PLAN, Run, extra_of, find
from robench_fire.runs.model_source import source_from_file, source_of

ANY = -1  # the seed of weights that are for every seed


class WeightFiles(NamedTuple):
    """What a user gives: ``identity`` is for the plan; ``files`` are the weights by seed."""

    identity: GivenWeights
    files: Mapping[int, Path]

    def of(self, seed: int | None) -> Path:
        """The weights for a seed; for None, those of any.

        Raises:
            DataError: if there are several seeds, but not this one.
        """
        if seed is None or ANY in self.files:
            return next(iter(self.files.values()))
        if seed not in self.files:
            known = ", ".join(map(str, self.files))
            fix = "train it there too, or name one seed's folder"
            raise DataError(f"{self.identity.of} has seeds {known} and is asked for the one of seed {seed}: {fix}")
        return self.files[seed]


def given(flag: str, text: str) -> WeightFiles:
    """What a user names: a file, the folder of a run with one or several seeds.

    Raises:
        DataError: if there is no such thing.
        UsageError: if a folder holds several plans.
    """
    path = Path(text)
    if not path.is_dir():
        if not path.is_file():
            raise DataError(f"{flag} {text}: no such file or folder; `robench ls runs` lists the runs")
        return WeightFiles(GivenWeights(of=sha256(path)), {ANY: path})
    runs = [run for run in find(path) if run.trained]
    if not runs:
        raise DataError(f"{flag} {text} holds no trained run; `robench ls runs` lists them")
    if len({run.folder.parent for run in runs}) > 1:
        raise UsageError(f"{flag} {text} holds several plans; name the folder of one")
    if missing := [run for run in runs if not run.weights.exists()]:
        raise DataError(f"{flag} {text}: {missing[0].weights} is not here")
    plan = runs[0].read(PLAN)
    seen = "other data" if extra_of(plan) in MORE_DATA else None
    if len(runs) == 1:
        identity = GivenWeights(of=sha256(runs[0].weights), seen=seen or plan["dataset"])
        return WeightFiles(identity, {ANY: runs[0].weights})
    of = "/".join(runs[0].folder.resolve().parts[-5:-1])
    return WeightFiles(GivenWeights(of=of, seen=seen), {run.seed: run.weights for run in runs})


def beginning(flag: str, start: WeightFiles, recipe: Recipe, dataset: Dataset) -> Callable[[nn.Module, int], None]:
    """What puts the weights of a seed into its freshly initialised model, all but a new head.

    Raises:
        RecipeError: if the weights are not of this network, or of other classes where the head is kept.
    """
    assert recipe.start is not None
    new = recipe.start.head == "new"
    network = architectures.builder(recipe.arch, dataset.shape)(dataset.shape, dataset.num_classes)
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    head = last_layer(network) if new else ""

    def tensors(seed: int | None) -> dict[str, Tensor]:
        try:
            return checkpoints.find(start.of(seed), wanted, free=head).tensors
        except checkpoints.MisfitError as fault:
            raise RecipeError(f"{flag} {fault}; {_way_out(start.of(seed), wanted, network, recipe.arch)}") from None

    tensors(None)

    def begin(model: nn.Module, seed: int) -> None:
        inner = model[1] if isinstance(model, nn.Sequential) and recipe.normalise != "none" else model
        inner.load_state_dict(tensors(seed), strict=False)

    return begin


def _way_out(path: Path, wanted: checkpoints.Shapes, network: nn.Module, arch: str) -> str:
    try:
        checkpoints.find(path, wanted, free=last_layer(network))
    except checkpoints.MisfitError:
        return f"it must hold weights of {arch}"
    return "it is of other classes: --set recipe.start.head=new gives it a new last layer"


def teacher(flag: str, start: WeightFiles, plan: Plan, dataset: Dataset) -> Callable[[int | None], nn.Module]:
    """What loads the teacher of a seed that is trained on ``dataset``: frozen, in eval mode, on the CPU.

    A file is read as the network of the ``plan``; a run knows its own.

    Raises:
        RecipeError: if its images or its classes are not those of the data set, or a file is of another network.
        DataError: if it cannot be read.
    """
    name, arch = plan.dataset, plan.recipe.arch
    data = (plan.data, plan.claim.eps) if plan.data else None

    def load(seed: int | None) -> nn.Module:
        path = start.of(seed)
        run = Run(path.parent)
        if path == run.weights and (run.folder / "plan.json").exists():
            source = source_of(run)
        else:
            try:
                checkpoints.find(path, architectures.shapes(arch, dataset.shape, dataset.num_classes))
            except checkpoints.MisfitError as fault:
                fix = f"a file is read as {arch}, the network that is trained; for another one name the folder of a run"
                raise RecipeError(f"{flag} {fault}; {fix}") from None
            source = source_from_file(path, name, arch, images=data)
        own = source.parts()
        if (own.shape, own.num_classes) != (dataset.shape, dataset.num_classes):
            raise RecipeError(
                f"{flag} {path.parent} knows {own.num_classes} classes of {'x'.join(map(str, own.shape))} images; "
                f"{name} has {dataset.num_classes} of {'x'.join(map(str, dataset.shape))}"
            )
        return source.load(torch.device("cpu"))

    load(None)
    return load
