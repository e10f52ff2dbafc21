"""Signs, in what validation found after each epoch, that a training failed though it came to its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from robench_fire.statistics.summary import above_chance

LAST = 3  # epochs at chance that are no accident
FALLEN = 15.0
"""Points of robust accuracy lost, and half of what there was; Wong et al. 2020 lose all within an epoch or two."""
APART = 30.0  # points between the accuracies under one step and under ten, of a network that hides its gradient


def kept_epoch(curve: Sequence[Mapping[str, Any]], select: str) -> Mapping[str, Any]:
    """The row of the epoch whose weights a recipe keeps that selects so; of equal ones the last, as in training."""
    if select == "last":
        return curve[-1]
    return max(reversed(curve), key=lambda row: row.get("robust", row["clean"]))


def falls(curve: Sequence[Mapping[str, float]]) -> list[int]:
    """Epochs that lost as much robust accuracy as a training that failed: see FALLEN, from one epoch to the next."""
    robust = [row.get("robust", math.nan) for row in curve]
    pairs = zip(curve[1:], robust, robust[1:], strict=False)
    return [int(row["epoch"]) for row, before, now in pairs if before - now >= max(FALLEN, before / 2)]


def signs(curve: Sequence[Mapping[str, float]], num_classes: int) -> list[str]:
    """What a reader must know of a seed, as sentences without an end; empty for a training like any other.

    ``curve``: of each epoch "clean" and, where the recipe has an attack, "robust", in percent on validation images; and
    "one_step", under the attack of a training that takes one step, whose "robust" is under ten. "Catastrophic
    overfitting" is robust accuracy that collapses while clean accuracy, or that under the one step, does not (Wong et
    al. 2020).
    """
    if not curve:
        return []
    found, last = [], curve[-1]
    if len(curve) >= LAST and not any(above_chance(row["clean"], num_classes) for row in curve[-LAST:]):
        found.append(f"its validation accuracy is near chance, {last['clean']:.1f} % of {num_classes} classes")
    best = max(curve, key=lambda row: row.get("robust", 0.0))
    lost = best.get("robust", 0.0) - last.get("robust", 0.0)
    fell = lost >= FALLEN and lost >= best["robust"] / 2
    one, before = last.get("one_step", 0.0), best.get("one_step", 100.0)
    if fell and (last["clean"] >= best["clean"] or one >= before):
        while_ = f", while that under the training attack's one step went from {before:.1f} to {one:.1f} %"
        found.append(
            f"catastrophic overfitting, robust accuracy on validation images fell from {best['robust']:.1f} % in epoch "
            f"{best['epoch']:.0f} to {last['robust']:.1f} %{while_ if 'one_step' in last else ''}"
        )
    elif one - last.get("robust", 0.0) >= APART and last["robust"] <= one / 2:
        found.append(
            f"overfitted to the training attack's one step, under which {one:.1f} % of the validation images are right "
            f"and {last['robust']:.1f} % under ten steps"
        )
    return found
