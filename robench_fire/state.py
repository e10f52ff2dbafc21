"""The state of a training run between two epochs: what is saved, restored, and evaluated."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from robench_fire.errors import DataError
from robench_fire.files import replaced
from robench_fire.recipe import Adam, Cosine, Recipe


@dataclass
class State:
    """Everything that a later epoch depends on: ``write`` and ``restore`` round-trip all of it.

    No generator is among it: the engine derives every stream from the seed and the epoch. ``best`` holds the weights
    of the epoch that ``Recipe.select`` keeps.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: LRScheduler
    average: nn.Module | None  # its averaged model is ``average.module``
    memory: dict[str, Tensor]
    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Save atomically."""
        plain = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": _averaged(self.average).state_dict() if self.average else None,
            "memory": self.memory,
            "curve": self.curve,
            "seconds": self.seconds,
            "best": self.best,
        }
        with replaced(path) as partial:
            torch.save(plain, partial)

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue from what ``read`` returned."""
        self.model.load_state_dict(plain["model"])
        self.optimiser.load_state_dict(plain["optimiser"])
        self.schedule.load_state_dict(plain["schedule"])
        if self.average:
            _averaged(self.average).load_state_dict(plain["average"])
        self.memory, self.curve = plain["memory"], plain["curve"]
        self.seconds, self.best = plain["seconds"], plain["best"]

    def evaluated(self) -> nn.Module:
        """The model whose accuracy counts: the moving average where there is one."""
        return _averaged(self.average) if self.average else self.model


def _averaged(average: nn.Module) -> nn.Module:
    inner: nn.Module = average.module  # type: ignore[assignment]  # timm's ModelEmaV3
    return inner


def fresh(model: nn.Module, recipe: Recipe, memory: dict[str, Tensor]) -> State:
    """The state before the first epoch, with the recipe's optimiser, schedule and moving average around ``model``."""
    optimiser = _optimiser(model, recipe)
    schedule: LRScheduler
    if isinstance(recipe.schedule, Cosine):
        schedule = CosineAnnealingLR(optimiser, recipe.epochs)
    else:  # torch counts epochs from 0, the papers from 1
        drops = [max(math.ceil(share * recipe.epochs - 1e-9) - 1, 1) for share in recipe.schedule.at]
        schedule = MultiStepLR(optimiser, drops, recipe.schedule.factor)
    average = _moving_average(model, recipe.ema_decay) if recipe.ema_decay else None
    return State(model, optimiser, schedule, average, memory)


def _moving_average(model: nn.Module, decay: float) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit deprecations inside timm's own imports
        from timm.utils import ModelEmaV3  # here, because importing timm takes a second
    average: nn.Module = ModelEmaV3(model, decay=decay)
    return average


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    chosen = recipe.optimiser
    if isinstance(chosen, Adam):
        return torch.optim.Adam(model.parameters(), lr=chosen.lr)
    spared = [p for p in model.parameters() if chosen.decay_only_weights and p.dim() == 1]
    decayed = [p for p in model.parameters() if not (chosen.decay_only_weights and p.dim() == 1)]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=chosen.lr,
        momentum=chosen.momentum,
        nesterov=chosen.nesterov,
        weight_decay=chosen.weight_decay,
    )


def read(path: Path, device: torch.device) -> dict[str, Any]:
    """What ``State.write`` wrote.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as fault:  # whatever torch raises on a broken file, it is unreadable
        raise DataError(f"{path} cannot be read ({type(fault).__name__}); move it away to train anew") from None
    return state
