"""Problems for number formats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from robench_fire.problem import registry
from robench_fire.problem.dataset import Splits
from robench_fire.problem.defense import Defense, Standard
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Augment, Recipe, Sgd
from robench_fire.problem.threat import Linf
from robench_fire.quantity import Quantity
from robench_fire.training.setup import Problem

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


RECIPE = Recipe(
    arch="digits-cnn",
    attack=Pgd(steps=2, step=Quantity("0.1")),
    epochs=2,
    batch_size=64,
    optimiser=Sgd(lr=0.05),
    augment=Augment(pad=1, flip=True),
)


def defense(name: str) -> Defense:
    return registry.load("defenses", name).module.DEFENSE  # type: ignore[no-any-return]


def problem(small: Splits, name: str = "fire", **changes: Any) -> Problem:
    own, recipe = defense(name), replace(RECIPE, **changes)
    recipe = replace(recipe, attack=None) if isinstance(own, Standard) else recipe
    return Problem(own, Linf(eps=Quantity("0.2")), recipe, small.train, small.validation, 10)
