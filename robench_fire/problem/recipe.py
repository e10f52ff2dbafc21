"""How any defense is optimised: everything that is not the defense itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.settings import OPTIONAL

Pass = Literal["clean", "adv"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """torch.optim.SGD. ``decay_only_weights`` spares tensors of one dimension (biases, batch norm)."""

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_only_weights: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.momentum < 1 and self.weight_decay >= 0):
            raise ValueError(f"momentum {self.momentum} or weight_decay {self.weight_decay} is out of range")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum; set nesterov=false first")


@dataclass(frozen=True, kw_only=True)
class Adam:
    """torch.optim.Adam."""

    lr: float = 1e-4


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The rate is multiplied by ``factor`` when the epoch, counted from 1, reaches each share in ``at``.

    ``at=(0.75, 0.9)`` of 100 epochs drops at the beginning of epochs 75 and 90. The first epoch always has the
    whole rate, and an epoch drops it once, however many shares it reaches. No share: a constant rate.
    """

    per_update: ClassVar[bool] = False
    at: tuple[float, ...] = (0.75, 0.9)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 < share <= 1 for share in self.at):
            raise ValueError(f"at {self.at}: shares of the epochs, between 0 and 1")
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor {self.factor}: above 0, and 1 at most")


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Per epoch e = 1..E: lr (1 + cos(pi (e - 1) / E)) / 2."""

    per_update: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Cyclic:
    """Per update: from 0 in a straight line up to lr, reached at the share ``peak`` of the updates, and back to 0.

    One triangle, as in fast adversarial training (Wong et al. 2020).
    """

    per_update: ClassVar[bool] = True
    peak: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.peak < 1:
            raise ValueError(f"peak {self.peak}: a share of the updates, strictly between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """From lr / div up to lr, reached at the share ``peak``, and down to lr / (div final_div), by half cosines.

    The rates of torch's OneCycleLR with its momentum left alone (Smith & Topin 2018), update by update or epoch by
    epoch. Where the training is so short that the rise has no step of its own, it begins at lr.
    """

    per_update: bool = True
    peak: float = 0.3
    div: float = 25.0
    final_div: float = 1e4

    def __post_init__(self) -> None:
        if not 0 < self.peak < 1:
            raise ValueError(f"peak {self.peak}: a share of the training, strictly between 0 and 1")
        if not (self.div >= 1 and self.final_div >= 1):
            raise ValueError(f"div {self.div} and final_div {self.final_div}: what the rate is divided by, at least 1")


Schedule = Steps | Cosine | Cyclic | OneCycle


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Each image is mixed with another of its batch, pixel by pixel: a share drawn from Beta(alpha, alpha) is its own.

    Zhang et al. 2018. Targets are mixed by the same share.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha {self.alpha}: must be positive")


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """A box of each image is another's of its batch; a share drawn from Beta(alpha, alpha) stays (Yun et al. 2019)."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha {self.alpha}: must be positive")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random training views, drawn per image on the device: zero-pad and crop, flip, rotation (degrees), jitter.

    ``mix``: then images are mixed in pairs, before any attack.
    """

    pad: int = 4
    flip: bool = True
    rotate: float = 0.0
    jitter: float = 0.0
    mix: Mixup | CutMix | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        if self.pad < 0 or self.rotate < 0 or not 0 <= self.jitter <= 1:
            raise ValueError(f"augment: pad {self.pad}, rotate {self.rotate} or jitter {self.jitter} is out of range")


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Further images with labels mixed into every batch (Carmon et al. 2019).

    ``source``: "file" is ``--extra-data``, identified by ``sha256``; "hidden" hides the labels of a fixed share
    ``hidden`` of the training split and pseudo-labels those images with a standard classifier trained on the rest.
    ``share`` of each batch is of these images. ``made_by``: a generator, which drew them for their labels (Wang et al.
    2023); else they are pseudo-labelled.
    """

    source: Literal["hidden", "file"] = "hidden"
    sha256: str = ""
    hidden: float = 0.5
    share: float = 0.5
    made_by: Literal["generator"] | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        if not (0 < self.hidden < 1 and 0 < self.share < 1):
            raise ValueError(f"hidden {self.hidden} and share {self.share} must lie strictly between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class GivenWeights:
    """Weights that a training is given. ``of``: which, so that other ones are another plan.

    The SHA-256 of a file, or a run as data set/norm/defense/plan, whose seed k is for seed k. ``head``: whether the
    last layer is theirs, or a new one, for other classes. ``seen``: of a run, what its weights have seen where ``of``
    does not say it: a data set alone, or "other data" too.
    """

    of: str
    head: Literal["kept", "new"] = "kept"
    seen: str | None = field(default=None, metadata=OPTIONAL)


def effective_passes(recipe: Recipe, clean_in_outer: bool) -> tuple[Pass, ...]:
    """The train-mode passes that really run: clean ones only for a loss that reads them; without an attack x' is x."""
    if recipe.attack is None:
        return ("clean",)
    return tuple(name for name in recipe.passes if name == "adv" or clean_in_outer)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training recipe.

    ``attack``: the inner maximisation: a search, the gradients of the updates themselves (Replay), or None, which
    trains on clean images only. ``attack_mode``: which batch statistics the attack sees. ``passes``: train-mode
    forwards in order; batch-norm statistics move at each. A pass named twice is repeated without gradient, as some
    released codes do, and the last one enters the loss. ``ema_decay``: evaluate an exponential moving average of the
    weights; with ``ema_warm_up`` the decay of update t is at most (1 + t) / (10 + t),
    so that the random beginning is soon forgotten. ``select``: keep the last epoch; or the one with the highest robust
    accuracy on the validation split; or, of "copies", that epoch and whichever of its averaged and plain weights has
    it. The test split is never seen. ``validation_attack``: what "robust" is under there; None: the training's attack.
    ``label_smoothing``: this part of every target that a loss reads is spread evenly over all classes; attacks read
    targets as they are. ``precision``: the format of the update's products and ``attack_precision`` of the attack's;
    "auto" is chosen per device (robench_fire.devices.precision). ``ghost_batch``: batch norm sees each batch in slices
    of so many images (ghost batch norm, Hoffer et al. 2017), as several devices would without synchronisation; None:
    the whole batch, on however many devices. ``start``: the weights to begin from, else random ones; ``teacher``: of
    the network whose logits a loss reads.
    """

    arch: str
    attack: Pgd | Replay | None
    attack_mode: Literal["eval", "train"] = "eval"
    passes: tuple[Pass, ...] = ("clean", "adv")
    epochs: int = 100
    batch_size: int = 256
    optimiser: Sgd | Adam = Sgd()
    schedule: Schedule = Steps()
    augment: Augment = Augment()
    normalise: Literal["none", "dataset", "image"] = "none"
    ema_decay: float | None = None
    select: Literal["last", "validation", "copies"] = "last"
    extra: Extra | None = None
    precision: Precision = "auto"
    attack_precision: Precision = "auto"
    ghost_batch: int | None = None
    start: GivenWeights | None = field(default=None, metadata=OPTIONAL)
    teacher: GivenWeights | None = field(default=None, metadata=OPTIONAL)
    label_smoothing: float | None = field(default=None, metadata=OPTIONAL)
    ema_warm_up: bool | None = field(default=None, metadata=OPTIONAL)
    validation_attack: Pgd | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "ghost_batch"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")
        if self.optimiser.lr <= 0:
            raise ValueError(f"lr {self.optimiser.lr}: must be positive")
        if set(self.passes) - {"clean", "adv"} or not self.passes:
            raise ValueError(f"passes {self.passes}: choose from clean and adv")
        if self.teacher and self.teacher.head != "kept":
            raise ValueError("teacher.head new: only a network that is trained gets a new head")
        if self.extra and not 1 <= int(self.batch_size * self.extra.share) < self.batch_size:
            raise ValueError(f"extra.share {self.extra.share} of a batch of {self.batch_size} leaves one kind out")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay {self.ema_decay}: must lie strictly between 0 and 1")
        if self.label_smoothing is not None and not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing {self.label_smoothing}: must lie in [0, 1)")

    @property
    def updates(self) -> int:
        """How many updates are made on each batch."""
        return self.attack.times if self.attack else 1
