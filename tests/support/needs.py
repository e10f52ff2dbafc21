"""A small defense for everything that a loss can ask for, and how it is trained: by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from small_defenses import (
    DoubleBackprop,
    Features,
    Helper,
    Nearby,
    Nuclear,
    NuclearAttack,
    Slopes,
    SlopesNearby,
    SlopesTwice,
    Taught,
    TaughtTwice,
    Trades,
    TwoAttacks,
    Typical,
    Weighted,
)
from torch import nn
from trainings import teacher

from robench_fire.datasets import digits
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.adversarial_weights import AdversarialWeights
from robench_fire.problem.defense import Defense, Ramp
from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.recipe import Augment, CutMix, Mixup, Recipe, Sgd, Steps
from robench_fire.problem.targets import ClassMeans
from robench_fire.problem.threat import Linf, Threat
from robench_fire.quantity import Quantity
from robench_fire.training.engine import initialised
from robench_fire.training.setup import Problem


@dataclass(frozen=True, kw_only=True)
class Need:
    """A defense with the changes of its recipe, and whether it begins from given weights or has a teacher."""

    defense: Defense
    changes: dict[str, Any] = field(default_factory=dict)
    begins: bool = False

    @property
    def taught(self) -> bool:
        return bool(self.defense.teacher_reads)


CLEAN: dict[str, Any] = {"attack": None, "passes": ("clean",)}
FAR = Pgd(steps=2, step=Quantity("0.1"), start="uniform", spread=2.0, within="pixels")
CORNERS = Pgd(steps=2, step=Quantity("0.1"), start="bernoulli", spread=0.5)
REPLAYS = Replay(step=Quantity("0.15"), times=3)
AWP = AdversarialWeights(gamma=0.02)
NEEDS = {
    "further image": Need(defense=Helper()),
    "second attack": Need(defense=TwoAttacks()),
    "features": Need(defense=Features()),
    "slopes": Need(defense=Slopes()),
    "slopes at both": Need(defense=SlopesTwice()),
    "slopes without an attack": Need(defense=DoubleBackprop(), changes=CLEAN),
    "batch term": Need(defense=Nuclear()),
    "ramp": Need(defense=Trades(lam=Ramp(first=1.0, last=9.0, begin=0.25, end=0.75))),
    "coefficient of an example": Need(defense=Weighted()),
    "perturbed weights": Need(defense=Trades(weights=AWP)),
    "perturbed weights, late": Need(defense=Trades(weights=replace(AWP, start=0.75))),
    "perturbed weights, all at once": Need(defense=replace(TwoAttacks(), weights=AWP)),
    "perturbed weights, slopes": Need(defense=replace(Slopes(), weights=AWP)),
    "mixup": Need(defense=Trades(), changes={"augment": Augment(pad=0, flip=False, mix=Mixup(alpha=0.5))}),
    "cutmix": Need(defense=Trades(), changes={"augment": Augment(pad=0, flip=False, mix=CutMix())}),
    "mixup, smoothed labels": Need(
        defense=TwoAttacks(),
        changes={"augment": Augment(pad=0, flip=False, mix=Mixup(alpha=0.5)), "label_smoothing": 0.4},
    ),
    "teacher": Need(defense=Taught()),
    "teacher of both": Need(defense=TaughtTwice()),
    "memory of classes": Need(defense=Typical(targets=ClassMeans())),
    "start": Need(defense=Trades(), begins=True),
    "batch gain": Need(defense=NuclearAttack()),
    "random image": Need(defense=Nearby()),
    "slopes at a random image": Need(defense=SlopesNearby()),
    "far from the image": Need(defense=Trades(), changes={"attack": FAR}),
    "corners": Need(defense=Trades(), changes={"attack": CORNERS}),
    "replays": Need(defense=Trades(), changes={"attack": REPLAYS}),
    "replays, perturbed weights": Need(defense=Trades(weights=AWP), changes={"attack": REPLAYS}),
}
RECIPE = Recipe(
    arch="digits-cnn",
    attack=Pgd(steps=2, step=Quantity("0.1"), start="uniform"),
    epochs=2,
    batch_size=64,
    optimiser=Sgd(lr=0.05),
    schedule=Steps(at=()),
    augment=Augment(pad=0, flip=False),
)
LINF = Linf(eps=Quantity("0.2"))


def problem(
    name: str, images: int = 64, threat: Threat = LINF, build: Callable[[], nn.Module] = DigitsCNN, **changes: Any
) -> Problem:
    """The training of a need on so many digits; what is given to it are initial weights of other seeds."""
    need, full = NEEDS[name], digits.DATASET.splits(Path())
    recipe = replace(RECIPE, **need.changes, **changes)
    train, validation = full.train.take(slice(images)), full.validation.take(slice(30))

    def begin(model: nn.Module, seed: int) -> None:
        model.load_state_dict(initialised(build, seed + 200).state_dict())

    return Problem(
        need.defense, threat, recipe, train, validation, 10,
        begin=begin if need.begins else None, teacher=partial(teacher, build=build) if need.taught else None,
    )  # fmt: skip


def defense_file(folder: Path, name: str) -> str:
    """A defense file for a need, as a user would have one, without the changes of its recipe."""
    path = folder / f"{name.replace(',', '').replace(' ', '_')}.py"
    path.write_text(
        f'"""{name}."""\n\nfrom needs import NEEDS\nfrom robench_fire import Paper\n\n'
        'PAPER = Paper(key="Me2026Mine", method="Mine", title="T", authors="A", venue="V", link="https://example.org")\n'
        f"DEFENSE = NEEDS[{name!r}].defense\n",
        encoding="utf-8",
    )
    return str(path)
