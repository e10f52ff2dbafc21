"""The statistical manifold of a logistic model, q(1|x) = 1 / (1 + e^(-theta x)): Picot et al., section 3.1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robench_fire.theory.distances import Array, fisher_rao
from robench_fire.theory.gaussian import PAPERS, Model, curve, directions, solutions

SIDE = 61  # points along an axis
REGULARISED = {"no regularisation": 0.0, "lam 1": 1.0, "lam 100": 100.0}
"""Of Fig. 4, whose caption says no, medium and high; the paper gives no values."""


class Surface(NamedTuple):
    """``x`` (2, side, side): points. ``value``: there, q(1|x) or the distance. ``alpha``, ``norm``: of theta."""

    name: str
    x: Array
    value: Array
    alpha: float
    norm: float


def grid(half: float) -> Array:
    """(2, SIDE, SIDE) points of a square around 0."""
    axis = np.linspace(-half, half, SIDE)
    return np.stack(np.meshgrid(axis, axis))


def models(model: Model = PAPERS) -> dict[str, Array]:
    """theta of the least natural and of the least adversarial error; as long as the natural logistic model's.

    Errors depend on the direction alone, and the paper does not say how long its theta are.
    """
    whole = curve(model)
    norm = solutions("FIRE", (0.0,), model)[0].norm
    angles = {"natural": whole.alpha[whole.natural.argmax()], "robust": whole.alpha[whole.adversarial.argmax()]}
    return {name: norm * directions(alpha) for name, alpha in angles.items()}


def regularised(model: Model = PAPERS) -> dict[str, Array]:
    """theta that minimises the FIRE risk, without, with medium and with high regularisation: Fig. 4."""
    found = solutions("FIRE", tuple(REGULARISED.values()), model)
    return {name: each.norm * directions(np.array(each.alpha)) for name, each in zip(REGULARISED, found, strict=True)}


def probabilities(theta: dict[str, Array], half: float = 0.5) -> list[Surface]:
    """q(1|x) over a square: Fig. 2 and 4."""
    x = grid(half)
    return [_surface(name, x, 1 / (1 + np.exp(-np.tensordot(each, x, 1))), each) for name, each in theta.items()]


def distances(theta: dict[str, Array], half: float = PAPERS.eps) -> list[Surface]:
    """The Fisher-Rao distance between the predictions at 0 and at delta: Fig. 3."""
    x = grid(half)
    return [_surface(name, x, fisher_rao(np.zeros(()), np.tensordot(each, x, 1)), each) for name, each in theta.items()]


def _surface(name: str, x: Array, value: Array, theta: Array) -> Surface:
    return Surface(name, x, value, float(np.arctan2(theta[1], theta[0]) % (2 * np.pi)), float(np.linalg.norm(theta)))
