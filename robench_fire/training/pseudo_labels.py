"""Robust self-training without extra data: hide labels, train a standard classifier, let it label the hidden images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.devices.process_group import ALONE, ProcessGroup
from robench_fire.devices.random_streams import derive
from robench_fire.problem.dataset import Split
from robench_fire.problem.defense import Standard
from robench_fire.problem.recipe import Recipe
from robench_fire.progress import Progress
from robench_fire.training.engine import Trained, train
from robench_fire.training.setup import Problem, frozen

_HIDING = 20191113  # fixed: every seed and every defense hides the same labels


class Hidden(NamedTuple):
    """The training split without the hidden labels, the images whose labels were hidden, and their true labels."""

    labelled: Split
    images: Tensor
    truth: Tensor


def hide(full: Split, share: float) -> Hidden:
    """Hide the labels of a fixed ``share`` of the training split."""
    order = torch.randperm(len(full.labels), generator=torch.Generator().manual_seed(_HIDING))
    count = round(share * len(full.labels))
    gone, kept = order[:count].sort().values, order[count:].sort().values
    return Hidden(full.take(kept), full.images[gone], full.labels[gone])


def labeller_recipe(recipe: Recipe) -> Recipe:
    """How the labeller is trained: as Carmon et al. 2019 do theirs, by the same recipe without attack or extra data.

    Nor are its weights averaged or its labels smoothed. It begins from the weights that its pupil begins from, and
    makes as many updates as a pupil that trains on each batch several times.
    """
    averaging, names = ("ema_decay", "ema_warm_up"), ("attack", "validation_attack", "extra", "label_smoothing")
    left_out: dict[str, Any] = dict.fromkeys((*names, *averaging, "teacher"))
    epochs = recipe.epochs * recipe.updates
    return replace(recipe, epochs=epochs, passes=("clean",), select="last", **left_out)


def standard(problem: Problem) -> Problem:
    """The labeller's own problem: the same images, with neither attack nor extra data."""
    recipe = labeller_recipe(problem.recipe)
    return replace(problem, defense=Standard(), recipe=recipe, extra=None, teacher=None)


def label(
    build: Callable[[], nn.Module],
    problem: Problem,
    images: Tensor,
    *,
    seed: int,
    device: torch.device,
    state_file: Path,
    progress: Progress,
    group: ProcessGroup = ALONE,
    **more: Any,
) -> tuple[Tensor, Trained]:
    """Pseudo-labels (N,) for uint8 ``images``, by a standard classifier trained with the problem's recipe.

    ``more``: see engine.train.
    """
    trained = train(
        build, standard(problem), seed=derive(seed, "labeller"), device=device, state_file=state_file,
        progress=progress, group=group, **more,
    )  # fmt: skip
    model = build()
    model.load_state_dict(trained.weights)
    model.to(device)
    with frozen(model), torch.no_grad():
        labels = [model(to_float(part.to(device))).argmax(1).cpu() for part in images.split(512)]
    return torch.cat(labels), trained
