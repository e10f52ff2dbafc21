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
    """Call a defense on the logits of two images, so that a mistake in it is found before anything is spent.

    Once where clean and perturbed logits differ, once where they are equal, as where an attack finds nothing.

    Raises:
        RecipeError: if it lacks inner or outer, or one returns something else than a value per example, (N,); if the
            gain does not depend on the perturbed images, or no term on any image; if a value or a gradient is not
            finite; or if a coefficient is not a field.
    """
    for function in ("inner", "outer"):
        if getattr(type(defense), function) is getattr(Defense, function):
            raise RecipeError(f"{name} defines no {function}(self, views); see docs/adding-a-defense.md")
    _coefficients(defense, name)
    label = torch.arange(2) % num_classes
    target = defense.targets.read(defense.targets.init(label, num_classes), torch.arange(2))
    clean, adv = torch.linspace(-1, 1, 4 * num_classes).view(2, 2, num_classes)
    with torch.enable_grad():
        for perturbed, where in ((adv, ""), (clean, " where clean and perturbed logits are equal")):
            _inner(defense, name, clean, perturbed.clone().requires_grad_(), target, label, where)
            _outer(
                defense, name, clean.clone().requires_grad_(), perturbed.clone().requires_grad_(), target, label, where
            )


def _coefficients(defense: Defense, name: str) -> None:
    """Refuse numbers that neither --set nor the fingerprint would see."""
    known = {each.name for each in fields(defense)} | {"clean_in_inner", "clean_in_outer"}
    for attribute, value in vars(type(defense)).items():
        if isinstance(value, (int, float)) and not attribute.startswith("_") and attribute not in known:
            raise RecipeError(
                f"{name}: {attribute} = {value} is no field; write {attribute}: {type(value).__name__} = {value} in a "
                "class under @dataclass(frozen=True, kw_only=True)"
            )


def _inner(defense: Defense, name: str, clean: Tensor, adv: Tensor, target: Tensor, label: Tensor, where: str) -> None:
    gain = defense.inner(Views(clean if defense.clean_in_inner else None, adv, target, label))
    _per_example(f"{name}: inner", gain, where)
    if not gain.requires_grad:
        raise RecipeError(f"{name}: inner does not depend on views.adv, so that an attack has no gradient to follow")
    (grad,) = torch.autograd.grad(gain.sum(), adv)
    if not grad.isfinite().all():
        raise RecipeError(f"{name}: the gradient of inner is not finite{where}, so that an attack cannot follow it")


def _outer(defense: Defense, name: str, clean: Tensor, adv: Tensor, target: Tensor, label: Tensor, where: str) -> None:
    read = [clean, adv] if defense.clean_in_outer else [adv]
    terms = defense.outer(Views(clean if defense.clean_in_outer else None, adv, target, label))
    if not isinstance(terms, dict) or not terms:
        raise RecipeError(f"{name}: outer returns a {type(terms).__name__}; expected terms by name, {{'robust': (N,)}}")
    for term, value in terms.items():
        what = f"{name}: outer's {term!r}"
        _per_example(what, value, where)
        if not value.requires_grad:
            raise RecipeError(f"{what} has no gradient, so that nothing is learnt from it; is it detached or rounded?")
        for grad in torch.autograd.grad(value.sum(), read, retain_graph=True, allow_unused=True):
            if grad is not None and not grad.isfinite().all():
                raise RecipeError(f"{what} has a gradient that is not finite{where}")


def _per_example(what: str, value: object, where: str) -> None:
    if not isinstance(value, Tensor) or value.shape != (2,):
        found = f"has shape {tuple(value.shape)} for 2 images" if isinstance(value, Tensor) else f"is {value!r:.60}"
        raise RecipeError(f"{what} {found}; a defense returns one value per example, (N,)")
    if not value.isfinite().all():
        raise RecipeError(f"{what} is not finite{where}; see the rules in docs/adding-a-defense.md")


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
