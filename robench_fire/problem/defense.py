"""The contract of a defense: an immutable value made of pure functions of logits.

A module under defenses/ holds ``PAPER`` (whom to cite, what was reported) and ``DEFENSE`` (a Defense), and may hold
``matched(plan)`` and ``official(plan)``, its open departures from the data set's recipe (robench_fire.problem.plan).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from robench_fire.errors import RecipeError
from robench_fire.problem.targets import HardLabels, Targets


class Views(NamedTuple):
    """What a loss sees of a batch."""

    clean: Tensor | None  # (N, C) logits of the clean images; detached in the inner problem; None where not asked for
    adv: Tensor  # (N, C) logits of the perturbed images
    target: Tensor  # (N, C) non-negative; a row's mass is that example's weight
    label: Tensor  # (N,) class numbers

    @property
    def natural(self) -> Tensor:
        """The clean logits, for a defense that declares that it reads them."""
        if self.clean is None:
            raise ValueError("this defense reads clean logits: set clean_in_inner or clean_in_outer to True")
        return self.clean


Terms = dict[str, Tensor]
"""Named per-example losses, each (N,); the training loss is the mean over the batch of their sum."""


@dataclass(frozen=True, kw_only=True)
class Defense:
    """What the adversary gains (inner), what the trainer loses (outer), and where the targets come from."""

    clean_in_inner: ClassVar[bool] = True
    clean_in_outer: ClassVar[bool] = True
    targets: Targets = HardLabels()

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float) and not value >= 0:
                raise ValueError(f"{each.name} {value}: a coefficient must not be negative")

    def inner(self, views: Views) -> Tensor:
        """(N,) what the attack maximises over the perturbed images."""
        raise NotImplementedError

    def outer(self, views: Views) -> Terms:
        """What the trainer minimises over the weights."""
        raise NotImplementedError


def check(defense: Defense, name: str, num_classes: int) -> None:
    """Call a defense once, on the logits of two images, so that a mistake in it is found before anything is spent.

    Raises:
        RecipeError: if it lacks inner or outer, or one returns something else than a value per example, (N,); or a gain
            that does not depend on the perturbed images.
    """
    for function in ("inner", "outer"):
        if getattr(type(defense), function) is getattr(Defense, function):
            raise RecipeError(f"{name} defines no {function}(self, views); see docs/adding-a-defense.md")
    label = torch.arange(2) % num_classes
    target = defense.targets.read(defense.targets.init(label, num_classes), torch.arange(2))
    clean, adv = torch.linspace(-1, 1, 4 * num_classes).view(2, 2, num_classes)
    adv = adv.clone().requires_grad_(True)
    gain = defense.inner(Views(clean if defense.clean_in_inner else None, adv, target, label))
    _per_example(f"{name}: inner", gain)
    if not gain.requires_grad:
        raise RecipeError(f"{name}: inner does not depend on views.adv, so that an attack has no gradient to follow")
    terms = defense.outer(Views(clean if defense.clean_in_outer else None, adv, target, label))
    if not isinstance(terms, dict) or not terms:
        raise RecipeError(f"{name}: outer returns a {type(terms).__name__}; expected terms by name, {{'robust': (N,)}}")
    for term, value in terms.items():
        _per_example(f"{name}: outer's {term!r}", value)


def _per_example(what: str, value: object) -> None:
    if not isinstance(value, Tensor) or value.shape != (2,):
        found = f"has shape {tuple(value.shape)} for 2 images" if isinstance(value, Tensor) else f"is {value!r:.60}"
        raise RecipeError(f"{what} {found}; a defense returns one value per example, (N,)")


class Reported(NamedTuple):
    """A published result, in percent."""

    dataset: str
    norm: str
    arch: str
    clean: float
    robust: float
    source: str  # "FIRE, Table 1"; "RobustBench"
    clean_std: float | None = None
    robust_std: float | None = None
    extra_data: bool = False
    eps: str = ""  # where it is not the data set's usual radius


class Paper(NamedTuple):
    """Whom to cite, and what they reported; never part of a run's identity."""

    key: str  # RobustBench style: NameYearWord
    method: str  # the name in a table
    title: str
    authors: str
    venue: str
    link: str
    reported: tuple[Reported, ...] = ()
