"""The contract of a defense: an immutable value made of pure functions of logits.

A module under defenses/ holds ``PAPER`` (whom to cite, what was reported) and ``DEFENSE`` (a Defense), and may hold
``matched(plan)`` and ``official(plan)``, its open departures from the data set's recipe (robench_fire.problem.plan).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from robench_fire.losses import cross_entropy
from robench_fire.problem.adversarial_weights import WeightPerturbation
from robench_fire.problem.settings import OPTIONAL
from robench_fire.problem.targets import HardLabels, Targets


class Views(NamedTuple):
    """What a loss sees of a batch of N images and C classes.

    The first four are all that most defenses read. The others are there for a defense that declares them, and are
    keyed by the name of the image: "clean", "adv", or that of a further one.
    """

    clean: Tensor | None  # (N, C) logits of the clean images; detached in the inner problem; None where not asked for
    adv: Tensor  # (N, C) logits of the perturbed images
    target: Tensor  # (N, C) non-negative; a row's mass is that example's weight
    label: Tensor  # (N,) class numbers
    progress: Tensor = torch.ones(())  # () epoch / epochs, from 1 / epochs to 1
    more: Mapping[str, Tensor] = {}  # (N, C) logits of further images
    teacher: Mapping[str, Tensor] = {}  # (N, C) logits of the teacher; of the clean images only in the inner problem
    features: Mapping[str, Tensor] = {}  # (N, D) what the network's last linear layer reads
    gradients: Mapping[str, Tensor] = {}  # (N, D) of slope() with respect to that image
    recalled: Mapping[str, Tensor] = {}  # (N, ...) what the targets remember besides, by the names of their recall()
    turn: Tensor = torch.zeros((), dtype=torch.int64)  # () number of the batch in the training, from 0

    @property
    def natural(self) -> Tensor:
        """The clean logits, for a defense that declares that it reads them."""
        if self.clean is None:
            raise ValueError("this defense reads clean logits: set clean_in_inner or clean_in_outer to True")
        return self.clean


Terms = dict[str, Tensor]
"""Named losses: (N,) of outer, whose means over the batch are added up; () of over_batch, which are added to them."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A further image of each example, whose logits the outer loss reads as ``views.more[name]``.

    Made by exactly one of three: ``image`` of (clean images, perturbed images), each (N, C, H, W) in [0, 1]; a second
    attack by the recipe that maximises ``gain`` of (defense, views), (N,), whose ``views.adv`` is its own image; or
    chance: a uniformly random image of the ball of ``around`` radii.
    """

    name: str
    image: Callable[[Tensor, Tensor], Tensor] | None = None
    gain: Callable[[Any, Views], Tensor] | None = None
    around: float | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.image, self.gain, self.around)) != 1:
            raise ValueError(f"view {self.name}: give one of image, gain and around")
        if self.around is not None and not self.around > 0:
            raise ValueError(f"view {self.name}: around {self.around}: so many radii, must be positive")
        if self.name in ("clean", "adv"):
            raise ValueError(f"view {self.name}: this name is taken")


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A coefficient that moves in a straight line from ``first`` to ``last`` between two shares of the training."""

    first: float = 0.0
    last: float
    begin: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not (self.first >= 0 and self.last >= 0):
            raise ValueError(f"first {self.first} or last {self.last}: a coefficient must not be negative")
        if not 0 <= self.begin < self.end <= 1:
            raise ValueError(f"begin {self.begin} and end {self.end}: shares of the training, 0 <= begin < end <= 1, "
                             f"or the coefficient would end elsewhere than at {self.last}")  # fmt: skip

    def at(self, progress: Tensor) -> Tensor:
        """() the value at ``views.progress``."""
        return torch.lerp(
            torch.full_like(progress, self.first),
            torch.full_like(progress, self.last),
            ((progress - self.begin) / (self.end - self.begin)).clamp(0, 1),
        )


@dataclass(frozen=True, kw_only=True)
class Defense:
    """What the adversary gains (inner), what the trainer loses (outer), and what both need to be given.

    ``targets``: where targets come from. ``weights``: where each update is computed; None: at the weights. The class
    variables say which logits are read, so that no other forward pass is made: clean ones in either problem, those of
    ``further`` images, the teacher's (``teacher_reads``: names of images; ``teacher_is``: who it should be); whether
    ``features`` are read; and with respect to which images the gradient of slope() is (``gradients_at``).
    ``one_class``: its loss goes by the class of an image, ``views.label``, so that mixed images are none for it.
    """

    clean_in_inner: ClassVar[bool] = True
    clean_in_outer: ClassVar[bool] = True
    further: ClassVar[tuple[View, ...]] = ()
    teacher_reads: ClassVar[tuple[str, ...]] = ()
    teacher_is: ClassVar[str] = ""
    features: ClassVar[bool] = False
    one_class: ClassVar[bool] = False
    gradients_at: ClassVar[tuple[str, ...]] = ()
    targets: Targets = HardLabels()
    weights: WeightPerturbation | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, (int, float)) and not value >= 0:
                raise ValueError(f"{each.name} {value}: a coefficient must not be negative")

    def inner(self, views: Views) -> Tensor:
        """(N,) what the attack maximises over the perturbed images."""
        raise NotImplementedError

    def inner_over_batch(self, views: Views) -> Tensor:
        """() what the attack maximises besides, of the batch as a whole: added to the mean of inner."""
        raise NotImplementedError

    def outer(self, views: Views) -> Terms:
        """What the trainer minimises over the weights: by name, (N,)."""
        raise NotImplementedError

    def slope(self, views: Views) -> Tensor:
        """(N,) whose gradient with respect to the images of ``gradients_at`` the outer loss reads."""
        raise NotImplementedError

    def over_batch(self, views: Views) -> Terms:
        """What the trainer minimises besides, of the batch as a whole: by name, ()."""
        return {}

    @property
    def attacks(self) -> dict[str, Callable[[Any, Views], Tensor]]:
        """By image, what each attack of an update maximises."""
        return {"adv": type(self).inner} | {each.name: each.gain for each in self.further if each.gain is not None}

    @property
    def has_batch_terms(self) -> bool:
        """Whether a loss of this defense is of the batch as a whole."""
        return type(self).over_batch is not Defense.over_batch

    @property
    def has_batch_gain(self) -> bool:
        """Whether its attack maximises something of the batch as a whole."""
        return type(self).inner_over_batch is not Defense.inner_over_batch


@dataclass(frozen=True, kw_only=True)
class Standard(Defense):
    """Standard training: cross-entropy on clean images, in a recipe without an attack."""

    clean_in_inner: ClassVar[bool] = False

    def outer(self, views: Views) -> Terms:
        """Of the clean images alone."""
        return {"natural": cross_entropy(views.natural, views.target)}


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
