"""Signs, in what validation found after each epoch, that a training failed though it came to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robench_fire.statistics.summary import above_chance

LAST = 3  # epochs at chance that are no accident
FALLEN = (
    15.0  # points of robust accuracy lost, and half of the best: Wong et al. 2020 lose all of it within an epoch or two
)


def signs(curve: Sequence[Mapping[str, float]], num_classes: int) -> list[str]:
    """What a reader must know of a seed, as sentences without an end; empty for a training like any other.

    ``curve``: of each epoch "clean" and, where the recipe has an attack, "robust", in percent on validation images.
    "Catastrophic overfitting" is robust accuracy that collapses while clean accuracy does not (Wong et al. 2020).
    """
    if not curve:
        return []
    found, last = [], curve[-1]
    if len(curve) >= LAST and not any(above_chance(row["clean"], num_classes) for row in curve[-LAST:]):
        found.append(f"its validation accuracy is near chance, {last['clean']:.1f} % of {num_classes} classes")
    best = max(curve, key=lambda row: row.get("robust", 0.0))
    lost = best.get("robust", 0.0) - last.get("robust", 0.0)
    if lost >= FALLEN and lost >= best["robust"] / 2 and last["clean"] >= best["clean"]:
        found.append(
            f"catastrophic overfitting, robust accuracy on validation images fell from {best['robust']:.1f} % in epoch "
            f"{best['epoch']:.0f} to {last['robust']:.1f} %"
        )
    return found
