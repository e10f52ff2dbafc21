"""Perturbed images that an attack of a user's own returned and that the threat model does not allow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from robench_fire.evaluation.autoattack.attack_sets import inside
from robench_fire.problem.threat import Threat


class Uncounted(NamedTuple):
    """Of ``attacked`` images those that do not count.

    How many leave the ball, and how long the longest perturbation among them is; how many leave [0, 1], and how far at
    most; how many are not finite.
    """

    attacked: int = 0
    outside: int = 0
    farthest: float = 0.0
    beyond: int = 0
    excess: float = 0.0
    not_finite: int = 0


def uncounted(threat: Threat, x_adv: Tensor, x: Tensor) -> Uncounted:
    """Of perturbed images of ``x`` (N, C, H, W)."""
    flat = x_adv.flatten(1)
    finite = flat.isfinite().all(1)
    beyond = (-flat).clamp_min(0).amax(1).maximum((flat - 1).clamp_min(0).amax(1))
    over, distance = finite & (beyond > 0), threat.distance(x_adv, x)
    far = finite & ~inside(threat, x_adv.clamp(0, 1), x) & (distance > float(threat.eps))
    return Uncounted(
        len(x), int(far.sum()), _largest(distance[far]), int(over.sum()), _largest(beyond[over]), int((~finite).sum())
    )


def _largest(values: Tensor) -> float:
    return float(values.max()) if len(values) else 0.0


def together(parts: Iterable[Uncounted]) -> Uncounted:
    """Of several batches."""
    rows = list(zip(Uncounted(), *parts, strict=True))
    return Uncounted(*(max(row) if isinstance(row[0], float) else sum(row) for row in rows))
