"""The contract of a defense: an immutable value made of pure functions of logits.

A module under defenses/ holds ``PAPER`` (whom to cite, what was reported) and ``DEFENSE`` (a Defense), and may hold
``matched(plan)`` and ``official(plan)``, its open departures from the data set's recipe (see robench_fire.plan).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

from torch import Tensor

from robench_fire.targets import HardLabels, Targets


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
