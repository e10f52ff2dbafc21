"""gallery: images, what broke them, and what the model says of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.errors import DataError
from robench_fire.figures.source import Plan
from robench_fire.figures.style import GREY, Drawn, figure, plain, styled
from robench_fire.quantity import Quantity

if TYPE_CHECKING:
    from robench_fire.evaluation.adversarial_images import Predicted

MOST = 8  # images
ROWS = ("clean", "perturbation", "perturbed")


@styled
def gallery(plan: Plan, seed: int, found: Predicted) -> Drawn:
    """The first image of each class that AutoAttack broke, its perturbation, and both together.

    Raises:
        DataError: if none was broken.
    """
    places = _chosen(found)
    if not places:
        raise DataError(f"AutoAttack broke no image of {plan.name}, seed {seed}: there is nothing to show")
    made, panels = figure((max(0.85 * len(places), 2.6), 3.6), (3, len(places)), squeeze=False)
    for place, column in zip(places, panels.T, strict=True):
        at = found.broken[place]
        clean, perturbed = found.images[at], found.perturbed[place]
        middle = _visible(perturbed - clean, plan.row.norm, float(Quantity(plan.row.eps)))
        for axes, image in zip(column, (clean, middle, perturbed), strict=True):
            axes.imshow(_pixels(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=GREY, linewidth=0.6)
        column[0].set_xlabel(_says(found.said[at]), fontsize=9)
        column[2].set_xlabel(_says(found.said_then[place]), fontsize=9)
    for axes, name in zip(panels[:, 0], ROWS, strict=True):
        axes.set_ylabel(name)
    made.suptitle(f"{plain(plan.name, 30)}, seed {seed}, AutoAttack at {plan.row.norm} {plan.row.eps}", fontsize=10)
    sure = sum(found.said_then[place].max() > 0.9 for place in places)
    share = 100 * len(found.broken) / len(found.labels)
    said = (
        f"The first broken image of each class, of {len(found.broken)} broken ones ({share:.1f} % of all); "
        f"{sure} of {len(places)} are now called something else with more than 90 %. "
        "In the middle row grey is no change, black and white the largest change."
    )
    return Drawn(made, [_row(found, place) for place in places], said)


def _chosen(found: Predicted) -> list[int]:
    """Places in what was broken."""
    labels = found.labels[found.broken]
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    return first[:MOST]


def _visible(delta: NDArray[Any], norm: str, eps: float) -> NDArray[Any]:
    """A perturbation as an image around grey."""
    most = eps if norm == "Linf" else float(np.abs(delta).max())
    return np.asarray(0.5 + delta / (2 * max(most, 1e-12))).clip(0, 1)


def _pixels(image: NDArray[Any]) -> NDArray[Any]:
    """(H, W) of a grey image, (H, W, 3) of a coloured one."""
    return np.asarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def _says(probabilities: NDArray[Any]) -> str:
    return f"{probabilities.argmax()}: {100 * probabilities.max():.0f} %"


def _row(found: Predicted, place: int) -> dict[str, Any]:
    at = int(found.broken[place])
    delta, before, after = found.perturbed[place] - found.images[at], found.said[at], found.said_then[place]
    return {
        "image": at,
        "label": int(found.labels[at]),
        "predicted_clean": int(before.argmax()),
        "probability_clean": float(before.max()),
        "predicted_perturbed": int(after.argmax()),
        "probability_perturbed": float(after.max()),
        "probability_of_label_perturbed": float(after[found.labels[at]]),
        "largest_change": float(np.abs(delta).max()),
        "l2_of_change": float(np.sqrt(np.square(delta.astype(float)).sum())),
    }
