"""What is asked of an evaluation, and one source with the images it is evaluated on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robench_fire.data.batches import to_float
from robench_fire.devices.random_streams import derive
from robench_fire.errors import UsageError
from robench_fire.evaluation import checks
from robench_fire.evaluation.autoattack.attack_sets import LEAST_CLASSES, VERSION, Attack
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel, attacked_model
from robench_fire.evaluation.evaluate import SETS, attacks_of
from robench_fire.evaluation.own_attacks.attack import OwnAttack
from robench_fire.problem.dataset import Split, head
from robench_fire.problem.threat import THREATS, Threat, mistaken
from robench_fire.quantity import Quantity
from robench_fire.runs import folders
from robench_fire.runs.evaluations import evaluation_name
from robench_fire.runs.model_source import ModelSource


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """Which evaluations to run, on the first ``examples`` test images (None: the data set's default)."""

    attacks: tuple[str, ...] = ("pgd20", "aa")
    own: tuple[OwnAttack, ...] = ()  # those of the user's, after these
    examples: int | None = None
    seed: int = 0
    batch_size: int = folders.BATCH_SIZE
    norm: str = ""  # default: the norm and radius that the row claims, and the radius it was trained at
    eps: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None  # the i-th of n parts only
    merge: bool = False  # only join shards
    shuffled: bool = False  # the images in an order drawn by the seed, so that the first ones stand for all
    jobs: int = 1  # processes that share the blocks of one evaluation; 0: as many as are useful here

    @property
    def names(self) -> tuple[str, ...]:
        """All evaluations, in order."""
        return (*self.attacks, *(each.name for each in self.own))

    def check(self, dataset: str, num_classes: int) -> None:
        """Whether a data set can be attacked like that.

        Raises:
            UsageError: if it has too few classes for an attack that is asked for by its own name.
        """
        for name in self.attacks:
            if num_classes < (least := LEAST_CLASSES.get(name, 2)):
                raise UsageError(f"--attack {name} needs {least} classes, {dataset} has {num_classes}; use --attack aa")

    def remarks(self, dataset: str, num_classes: int) -> list[str]:
        """What a user should know before training: which sets of attacks are smaller on so few classes."""
        return [
            f"{dataset} has {num_classes} classes: {name} is {', '.join(each.name for each in fewer)}, as "
            f"{'the targeted DLR loss needs' if num_classes > 2 else 'DLR losses need'} more (docs/evaluation.md)"
            for name in self.attacks
            if (fewer := attacks_of(name, num_classes)) != SETS[name]
        ]

    def threats(self, source: ModelSource) -> list[Threat]:
        """The threat models to evaluate under: unless asked otherwise the claim, and what was trained at.

        Raises:
            UsageError: for another norm than the claimed one without a radius, or a radius that cannot be.
        """
        if "," in self.norm:
            return self._one_each()
        claim = source.claim
        if self.norm and self.norm != claim.norm and not self.eps:
            usual = [str(each.eps) for each in source.parts().recipes if each.norm == self.norm]
            hint = f"; on {source.dataset} {' or '.join(usual)} is usual in {self.norm}" if usual else ""
            raise UsageError(f"--norm {self.norm} needs --eps: the claim is {claim.norm} {claim.eps}{hint}")
        kind = THREATS[self.norm or claim.norm]
        trained, own = source.trained, [str(claim.eps)]
        if trained.norm == claim.norm and trained.eps > 0 and trained.eps != claim.eps:
            own.append(str(trained.eps))
        try:
            return [kind(eps=Quantity(each)) for each in self.eps or own]
        except ValueError as fault:
            raise UsageError(f"--eps {', '.join(self.eps)}: {fault}") from None

    def _one_each(self) -> list[Threat]:
        """Of several norms, each with its radius."""
        norms = self.norm.split(",")
        if len(norms) != len(self.eps):
            given = f"--norm {self.norm} needs {len(norms)} radii in --eps, in that order, like 8/255,0.5"
            raise UsageError(f"{given}; there are {len(self.eps)}")
        try:
            pairs = zip(norms, self.eps, strict=True)
            return list(dict.fromkeys(THREATS[norm](eps=Quantity(eps)) for norm, eps in pairs))
        except ValueError as fault:
            raise UsageError(f"--eps {', '.join(self.eps)}: {fault}") from None

    def doubts(self, source: ModelSource) -> list[str]:
        """What a user should know of the radii: one may be meant for another norm."""
        pairs = [(each, mistaken(each, source.parts().recipes)) for each in self.threats(source)]
        return [f"{each.norm} {each.eps}: on {source.dataset} it is {known}" for each, known in pairs if known]


class Evaluator:
    """A source and the test images it is evaluated on; nothing is loaded before it is needed."""

    def __init__(self, source: ModelSource, test: Split, evaluations: Evaluations, device: torch.device) -> None:
        self.source, self.evaluations, self.device = source, evaluations, device
        self.dataset = source.parts()
        self.test = head(test, evaluations.examples or self.dataset.examples)

    @cached_property
    def weights(self) -> str:
        return self.source.sha256()

    @cached_property
    def images(self) -> str:
        return self.test.sha256()

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(N,) which test image is attacked at each place."""
        count = len(self.test.labels)
        return shuffled(self.evaluations.seed, count) if self.evaluations.shuffled else np.arange(count)

    @cached_property
    def model(self) -> nn.Module:
        return self.source.load(self.device)

    @cached_property
    def attacked(self) -> tuple[AttackedModel, list[str]]:
        """At the claimed threat model, and what AutoAttack's checks say of the model."""
        test = self.test.take(torch.from_numpy(self.order)) if self.evaluations.shuffled else self.test
        on = test.to(self.device)
        attacked, flags = attacked_model(
            self.model, to_float(on.images), on.labels, self.source.claim, num_classes=self.dataset.num_classes,
            seed=self.evaluations.seed, batch_size=self.evaluations.batch_size,
        )  # fmt: skip
        if self.source.run is None:  # a run's plan knows its normalisation
            x, label = attacked.block(0)
            checks.wrong_normalisation(
                attacked.model, x, label, self.source.normalise, self.dataset.mean, self.dataset.std
            )
        return attacked, flags

    def attacks(self, name: str) -> tuple[Attack, ...]:
        """Those of an evaluation, in order."""
        own = self.own(name)
        return (Attack(name, own=own),) if own else attacks_of(name, self.dataset.num_classes)

    def own(self, name: str) -> OwnAttack | None:
        """The user's attack that an evaluation is of, if it is."""
        return next((each for each in self.evaluations.own if each.name == name), None)

    def name(self, attack: str, threat: Threat) -> str:
        wanted = self.evaluations
        return evaluation_name(
            attack, threat.norm, str(threat.eps), len(self.test.labels), wanted.seed, wanted.batch_size,
            SHUFFLED * wanted.shuffled,
        )  # fmt: skip

    def path(self, name: str, ending: str) -> Path:
        """A file of an evaluation."""
        return self.source.stem.with_name(f"{self.source.stem.name}.{name}{ending}")

    def identity(self, attack: str, threat: Threat) -> dict[str, str | int]:
        """What a record of this evaluation is bound to."""
        found: dict[str, str | int] = {
            "attack": attack,
            "version": VERSION,
            "norm": threat.norm,
            "eps": str(threat.eps),
            "seed": self.evaluations.seed,
            "examples": len(self.test.labels),
            "batch_size": self.evaluations.batch_size,
            "arch": self.source.arch,
            "normalise": self.source.normalise,
            "weights_sha256": self.weights,
            "images_sha256": self.images,
        }
        found |= {"order": SHUFFLED} if self.evaluations.shuffled else {}
        if own := self.own(attack):
            found |= {"attack_function": own.shown, "attack_sha256": own.sha256}
        return found | ({"weights_key": self.source.key} if self.source.key else {})


SHUFFLED = "shuffled"
"""The order of an evaluation that is not in the test set's own."""


def shuffled(seed: int, images: int) -> NDArray[np.int64]:
    """(images,) a random order: by the hash of seed and number, so that no library can ever change it."""
    return np.array(sorted(range(images), key=lambda number: derive(seed, "order", number)), np.int64)
