"""Evaluation: one boolean per test example, from which every accuracy, agreement and paired test derives."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robench_fire import autoattack
from robench_fire.attacks import Pgd, misclassify
from robench_fire.data import to_float
from robench_fire.dataset import Split
from robench_fire.engine import frozen
from robench_fire.errors import DataError
from robench_fire.quantity import Quantity
from robench_fire.reporting import Progress
from robench_fire.seeding import generator
from robench_fire.threat import Threat

ATTACKS = ("pgd20", "aa")


@dataclass(frozen=True)
class Result:
    """``clean`` and ``robust`` (N,): correct on the image, and still correct under the attack.

    ``after``: accuracy in percent after each attack of a set. ``flags``: AutoAttack's signs of an unreliable result.
    """

    clean: Tensor
    robust: Tensor
    seconds: float
    after: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)


def percent(mask: Tensor) -> float:
    """Accuracy in percent of a mask."""
    return 100 * int(mask.sum()) / len(mask)


def evaluate(
    attack: str,
    model: nn.Module,
    test: Split,
    threat: Threat,
    *,
    num_classes: int,
    seed: int,
    batch_size: int,
    progress: Progress,
) -> Result:
    """Attack every example of ``test`` that the model classifies correctly. The model and the split share a device.

    "pgd20" is PGD on cross-entropy with 20 steps of eps / 10 from a uniform start; "aa" is AutoAttack standard.

    Raises:
        DataError: if the images leave [0, 1] or the model's logits are not finite.
    """
    started = time.perf_counter()
    images = checked(to_float(test.images))
    with frozen(model):
        pairs = zip(images.split(batch_size), test.labels.split(batch_size), strict=True)
        clean = torch.cat([_correct(model, x, y) for x, y in pairs])
        if attack == "pgd20":
            flags: list[str] = []
            robust = _pgd20(model, images, test.labels, clean, threat, seed, batch_size, progress)
            after = {"pgd20": percent(robust)}
        else:
            masks, flags = autoattack.survivors(
                model, images, test.labels, clean, threat,
                num_classes=num_classes, seed=seed, batch_size=batch_size, progress=progress,
            )  # fmt: skip
            robust, after = masks["square"], {name: percent(mask) for name, mask in masks.items()}
    return Result(clean.cpu(), robust.cpu(), time.perf_counter() - started, after, flags)


def checked(images: Tensor) -> Tensor:
    """``images`` if they are finite and in [0, 1] up to rounding (1e-6), clamped to it.

    Raises:
        DataError: otherwise, with the range found.
    """
    low, high = images.min().item(), images.max().item()
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # also catches NaN
        raise DataError(
            f"images run from {low:.4g} to {high:.4g}; a threat model needs them in [0, 1], before normalisation"
        )
    return images.clamp(0, 1)


@torch.no_grad()
def _correct(model: nn.Module, x: Tensor, label: Tensor) -> Tensor:
    logits = model(x)
    if not logits.isfinite().all():
        raise DataError("the model's logits are not finite; the checkpoint is broken or of another architecture")
    correct: Tensor = logits.argmax(1) == label
    return correct


def _pgd20(
    model: nn.Module, images: Tensor, labels: Tensor, clean: Tensor, threat: Threat, seed: int, batch_size: int,
    progress: Progress,
) -> Tensor:  # fmt: skip
    if not threat.eps > 0:
        return clean.clone()
    pgd = Pgd(steps=20, step=Quantity(float(threat.eps) / 10), start="uniform")
    robust = clean.clone()
    blocks = torch.arange(len(labels), device=labels.device).split(batch_size)
    for number, index in enumerate(blocks):
        index = index[robust[index]]
        if len(index):
            x_adv = pgd(model, misclassify(labels[index]), images[index], threat,
                        generator(images.device, seed, "pgd20", number))  # fmt: skip
            robust[index] = _correct(model, x_adv, labels[index])
        progress(number + 1, len(blocks), f"pgd20: {int(robust.sum())} of {len(labels)} robust")
    return robust
