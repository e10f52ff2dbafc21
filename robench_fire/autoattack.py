"""AutoAttack standard with pyautoattack's attacks and our orchestration: explicit seeds, per-example results."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robench_fire.attacks import Forward
from robench_fire.reporting import Progress
from robench_fire.seeding import derive
from robench_fire.threat import Threat

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")


def _attack(name: str, forward: Forward, threat: Threat, num_classes: int, seed: int, device: torch.device) -> Any:
    """One attack of the standard set with upstream's settings: 100 iterations, 9 targets, 5,000 queries, 1 restart."""
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from pyautoattack.fab_pt import FABAttack_PT
    from pyautoattack.square import SquareAttack

    shared = {"norm": threat.norm, "eps": float(threat.eps), "seed": seed, "device": device, "n_restarts": 1}
    targets = min(9, num_classes - 1)
    if name == "apgd-ce":
        return APGDAttack(forward, n_iter=100, loss="ce", **shared)
    if name == "apgd-t":
        return APGDAttack_targeted(forward, n_iter=100, n_target_classes=targets, **shared)
    if name == "fab-t":
        return FABAttack_PT(forward, n_iter=100, targeted=True, n_target_classes=targets, **shared)
    return SquareAttack(forward, n_queries=5000, p_init=0.8, resc_schedule=False, **shared)


class _Heard(list[str]):
    """The logger that upstream's checks complain to."""

    def warning(self, text: str) -> None:
        self.append(text)


def model_flags(forward: Forward, images: Tensor, labels: Tensor) -> list[str]:
    """Upstream's checks of the model on a batch of images: randomised outputs, probabilities instead of logits."""
    from pyautoattack import checks

    randomised, probabilities = _Heard(), _Heard()
    checks.check_randomized(forward, images, labels, bs=len(labels), logger=randomised)
    checks.check_range_output(forward, images, logger=probabilities)
    return ["randomised"] * bool(randomised) + ["probabilities instead of logits"] * bool(probabilities)


def survivors(
    forward: Forward,
    images: Tensor,
    labels: Tensor,
    robust: Tensor,
    threat: Threat,
    *,
    num_classes: int,
    seed: int,
    batch_size: int,
    progress: Progress,
) -> tuple[dict[str, Tensor], list[str]]:
    """For each attack in turn, the examples (N,) that it and those before it left correctly classified; and flags.

    ``images`` (N, C, H, W) are floats in [0, 1]; ``robust`` (N,) marks the examples worth attacking. Every (attack,
    block of ``batch_size`` test images) has its own seed, so an example's result depends on its block alone. A
    perturbation only counts if it lies in the threat model, which is checked on the images themselves. The flags are
    upstream's signs of an unreliable evaluation, but for the one of dynamic models, whose check is broken there.
    """
    blocks = torch.arange(len(labels), device=labels.device).split(batch_size)
    flags = model_flags(forward, images[:batch_size], labels[:batch_size])
    robust, after, heard = robust.clone(), {}, _Heard()
    for number, name in enumerate(STANDARD):
        for block, index in enumerate(blocks):
            index = index[robust[index]]
            done = number * len(blocks) + block
            progress(done, len(STANDARD) * len(blocks), f"{name}: {int(robust.sum())} of {len(labels)} robust")
            if len(index):
                attack = _attack(name, forward, threat, num_classes, derive(seed, name, block), images.device)
                attack.logger = heard
                robust[index] = _withstands(attack, forward, images[index], labels[index], threat)
        after[name] = robust.clone()
    progress(len(STANDARD) * len(blocks), len(STANDARD) * len(blocks), f"{int(robust.sum())} of {len(labels)} robust")
    flags += ["zero gradients"] * bool(heard)
    if int(after["fab-t"].sum()) - int(robust.sum()) > max(0.002 * len(labels), 2):  # upstream's 0.2 %, or 2 images
        flags.append("Square stronger than white-box")
    return after, flags


def _withstands(attack: Any, forward: Forward, x: Tensor, label: Tensor, threat: Threat) -> Tensor:
    with torch.no_grad(), torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
        x_adv = attack.perturb(x.clone(), label.clone())
        inside = threat.distance(x_adv, x) <= float(threat.eps) * (1 + 1e-5) + 1e-7
        inside &= (x_adv.flatten(1).amin(1) >= 0) & (x_adv.flatten(1).amax(1) <= 1)
        kept: Tensor = (forward(x_adv).argmax(1) == label) | ~inside
    return kept
