"""What a training is given, and the functions of the model that its steps call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_map

from robench_fire.devices.precision import Arithmetic
from robench_fire.devices.process_group import ProcessGroup
from robench_fire.errors import RecipeError
from robench_fire.models.architectures import last_layer
from robench_fire.models.stacked import Stacked, refuses
from robench_fire.problem.dataset import Split
from robench_fire.problem.defense import Defense, Views
from robench_fire.problem.pgd import Replay
from robench_fire.problem.recipe import Recipe, effective_passes
from robench_fire.problem.threat import Threat


@dataclass(frozen=True)
class Problem:
    """What is trained on what: the arguments that every part of the loop reads."""

    defense: Defense
    threat: Threat
    recipe: Recipe
    train: Split
    validation: Split
    num_classes: int
    extra: Split | None = None
    begin: Callable[[nn.Module, int], None] | None = None  # puts given weights into a seed's fresh model
    teacher: Callable[[int | None], nn.Module] | None = None  # of a seed, frozen, in eval mode


class Outputs(NamedTuple):
    """Of one model, by the name of the image: logits (N, C), and where they are asked for features (N, D)."""

    logits: dict[str, Tensor]
    features: dict[str, Tensor]


Gain = Callable[[Tensor, Views], Tensor]
"""(Perturbed images, what else the defense reads) to what an attack maximises, (N,)."""


@dataclass(frozen=True)
class Setup:
    """How a problem is computed: everything that a step needs and does not change.

    ``passes``: images by name to the outputs of the recipe's train-mode passes, with the gradient averaged over the
    group. ``gains``: of each attack, by the name of its image. ``teacher``: images of all seeds to each one's teacher's
    logits.
    """

    problem: Problem
    pool: Split
    device: torch.device
    arithmetic: Arithmetic
    layout: Callable[[Tensor], Tensor]
    group: ProcessGroup
    passes: Callable[[dict[str, Tensor]], Outputs]
    gains: Mapping[str, Gain]
    teacher: Callable[[Tensor], Tensor] | None = None


class Streams(NamedTuple):
    """One seed's random streams: augmentation's and the attack's."""

    views: Generator
    noise: Generator


@contextmanager
def frozen(model: nn.Module, mode: str = "eval") -> Iterator[None]:
    """Put every module into ``mode`` and stop parameter gradients; restore both, per module, whatever happens."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.train(mode == "train")
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


class Passes(nn.Module):
    """The train-mode passes of one update in one forward, so that DistributedDataParallel and the compiler see one.

    All but the last of a repeated pass only move batch-norm statistics.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, defense: Defense) -> None:
        super().__init__()
        further = [each.name for each in defense.further]
        self.model, self._names = model, [*effective_passes(recipe, defense.clean_in_outer), *further]
        self._seen: list[Tensor] = []
        self._reading = False  # an attack's forwards would be kept until the next update
        if defense.features:
            model.get_submodule(last_layer(model)).register_forward_pre_hook(self._note)

    def _note(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        if self._reading:
            self._seen.append(given[0])

    def forward(self, images: dict[str, Tensor]) -> Outputs:
        found = Outputs({}, {})
        self._reading = True
        try:
            for position, name in enumerate(self._names):
                with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self._names[position + 1 :]):
                    found.logits[name] = self.model(images[name])
                if self._seen:
                    found.features[name] = self._seen.pop()
        finally:
            self._reading = False
        return found


def gains_of(model: nn.Module, defense: Defense) -> dict[str, Gain]:
    """What each attack maximises as a function of its images: forward and gain, each for one compilation."""
    return {name: _gain(model, defense, name, of) for name, of in defense.attacks.items()}


def _gain(model: nn.Module, defense: Defense, name: str, of: Callable[[Any, Views], Tensor]) -> Gain:
    what = "inner" if name == "adv" else f"the gain of {name!r}"
    whole, seeds = name == "adv" and defense.has_batch_gain, model.size if isinstance(model, Stacked) else 1

    def gain(x_adv: Tensor, seen: Views) -> Tensor:
        logits = model(x_adv).float()
        with torch.autocast(x_adv.device.type, enabled=False):
            seen = seen._replace(adv=logits)
            found = per_example(of(defense, seen), seen.label, what)
            if not whole:
                return found
            own = torch.stack([defense.inner_over_batch(of_seed(seen, seeds, number)) for number in range(seeds)])
            return (found.view(seeds, -1) + own[:, None]).flatten()  # N times as much as each: the sum is climbed

    return gain


def of_seed(seen: Views, seeds: int, number: int) -> Views:
    """What belongs to one seed's batch."""
    own: Views = tree_map(lambda x: x.chunk(seeds)[number] if isinstance(x, Tensor) and x.dim() else x, seen)
    return own


def refuses_together(defense: Defense, model: nn.Module) -> str:
    """Why seeds of a defense would not train side by side as they do alone; empty where they would."""
    if why := refuses(model):
        return why
    return "its loss reads features, which stacked models do not give" if defense.features else ""


def refuses_processes(defense: Defense, recipe: Recipe) -> str:
    """Why several processes cannot train a defense; empty where they can."""
    if isinstance(recipe.attack, Replay):
        return "each batch's perturbation is kept for the next one, in one process"
    if defense.has_batch_gain:
        return "its attack's gain is of the whole batch, which they part"
    if defense.has_batch_terms:
        return "its loss is of the whole batch, which they part"
    return "its loss reads gradients of images, whose own gradient they do not average" if defense.gradients_at else ""


def per_example(value: Tensor, label: Tensor, what: str) -> Tensor:
    """``value``, (N,) as it should be.

    Raises:
        RecipeError: if it is not.
    """
    if value.shape != label.shape:
        raise RecipeError(f"{what} has shape {tuple(value.shape)}; a defense returns one value per example, (N,)")
    return value
