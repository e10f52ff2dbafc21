"""How good a model is on the validation split between two epochs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.devices.precision import rounding
from robench_fire.devices.random_streams import generator
from robench_fire.problem.dataset import Split
from robench_fire.problem.pgd import Pgd, misclassify
from robench_fire.training.setup import Setup, frozen
from robench_fire.training.state import State

BATCH = 512


Pictures = Callable[[int, int, Tensor, Tensor], None]
"""Hears the number of a seed, an epoch, and the first validation images (N, C, H, W), clean and perturbed."""


def validate(
    state: State, setup: Setup, validation: Split, epoch: int, pictures: Pictures | None = None
) -> list[dict[str, float]]:
    """Each seed's clean accuracy, and robust accuracy under validation's attack on cross-entropy, in percent.

    Where either copy may be kept, of the better one: "averaged" says whether that is the averaged one (1 or 0), and the
    accuracies of both stand beside. In float32, whatever the recipe's precision (TF32 on a GPU). The processes of a
    group share the batches; the first one shows ``pictures``.
    """
    kept = _accuracies(state.evaluated(), state, setup, validation, epoch, pictures)
    if setup.problem.recipe.select != "copies":
        return kept
    plain = _accuracies(state.model, state, setup, validation, epoch)
    return [_better(*copies) for copies in zip(plain, kept, strict=True)]


def score(row: dict[str, float]) -> float:
    """What an epoch or a copy is chosen by."""
    return row.get("robust", row["clean"])


def _better(plain: dict[str, float], averaged: dict[str, float]) -> dict[str, float]:
    chosen = averaged if score(averaged) > score(plain) else plain  # of equals the plain one, as Pan and Yao 2026 do
    both = {"plain": plain, "averaged": averaged}
    beside = {f"{name}_{copy}": value for copy, found in both.items() for name, value in found.items()}
    return {**chosen, "averaged": float(chosen is averaged), **beside}


def _accuracies(
    model: nn.Module, state: State, setup: Setup, validation: Split, epoch: int, pictures: Pictures | None = None
) -> list[dict[str, float]]:
    """Of one copy of each seed's weights; the attack's random starts are the same for every copy."""
    attack, seeds, group = setup.problem.recipe.validated_under, state.seeds, setup.group
    noises = [generator(setup.device, one.seed, "validation", epoch) for one in seeds]
    right = torch.zeros(2, len(seeds), device=setup.device)
    size = max(min(BATCH, setup.problem.recipe.batch_size) // len(seeds), 1)  # what training fits, this does
    with frozen(model), rounding("tf32"):
        for number, (images, labels) in enumerate(zip(*(part.split(size) for part in validation), strict=True)):
            images = images.to(setup.device)  # where they do not lie there already
            x, label = setup.layout(to_float(images).repeat(len(seeds), 1, 1, 1)), labels.repeat(len(seeds))
            mine = number % group.size == group.rank
            if mine:
                right[0] += _right(model, x, label, len(seeds))
            if attack is not None:
                pairs = zip(x.chunk(len(seeds)), noises, strict=True)  # all processes draw the same, for every batch
                begin = torch.cat([attack.begin(each, setup.problem.threat, noise) for each, noise in pairs])
                if mine:
                    found = _attacked(model, setup, attack, x, begin, label)
                    right[1] += _right(model, found, label, len(seeds))
                    if pictures is not None and number == 0:
                        for at, pair in enumerate(zip(x.chunk(len(seeds)), found.chunk(len(seeds)), strict=True)):
                            pictures(at, epoch, *pair)
    counts = group.total(right).tolist()
    names = ("clean", "robust") if attack else ("clean",)
    return [
        {name: 100 * counts[at][number] / len(validation.labels) for at, name in enumerate(names)}
        for number in range(len(seeds))
    ]


def _attacked(model: nn.Module, setup: Setup, attack: Pgd, x: Tensor, begin: Tensor, label: Tensor) -> Tensor:
    gain = misclassify(label)
    return attack.climb([lambda z: gain(model(z))] * attack.steps, x, setup.layout(begin), setup.problem.threat)


def _right(model: nn.Module, x: Tensor, label: Tensor, seeds: int) -> Tensor:
    """(seeds,) images classified as their label."""
    with torch.no_grad():
        right: Tensor = model(x).argmax(1) == label
    return right.view(seeds, -1).sum(1)
