"""Short trainings on digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from devices import here
from torch import nn

from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem import registry
from robench_fire.problem.dataset import Split, Splits
from robench_fire.problem.defense import Defense, Standard
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Augment, Recipe, Sgd
from robench_fire.problem.threat import Linf
from robench_fire.quantity import Quantity
from robench_fire.training.engine import Trained, initialised, train
from robench_fire.training.setup import Problem

RECIPE = Recipe(
    arch="digits-cnn",
    attack=Pgd(steps=2, step=Quantity("0.1")),
    epochs=3,
    batch_size=64,
    optimiser=Sgd(lr=0.05),
    augment=Augment(pad=1, flip=True),
)


def defense(name: str) -> Defense:
    return registry.load("defenses", name).module.DEFENSE  # type: ignore[no-any-return]


def problem(small: Splits, name: str = "fire", recipe: Recipe = RECIPE, extra: Split | None = None) -> Problem:
    own = defense(name)
    recipe = replace(recipe, attack=None) if isinstance(own, Standard) else recipe
    taught = teacher if own.teacher_reads else None
    return Problem(own, Linf(eps=Quantity("0.2")), recipe, small.train, small.validation, 10, extra, teacher=taught)


def teacher(seed: int | None, build: Callable[[], nn.Module] = DigitsCNN) -> nn.Module:
    """A frozen network whose opinion is read."""
    return initialised(build, (seed or 0) + 100).eval().requires_grad_(False)


def trained(given: Problem, seed: int = 0, build: Callable[[], nn.Module] = DigitsCNN, **more: Any) -> Trained:
    return train(build, given, seed=seed, device=here(), **more)
