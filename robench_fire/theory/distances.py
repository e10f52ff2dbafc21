"""Distances between the two predictions of a binary classifier, by its logits h: Picot et al., sections 3.3 and 3.5.

Written from the two-class formulas, in numpy; robench_fire.losses has them for any number of classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

Array = NDArray[Any]
FARTHEST = 600.0
"""Beyond this logit arctan is π/2 to the last digit, and e^(h/2) is still far within the range of a float."""


def angle(h: Array) -> Array:
    """arctan(e^(h/2)), whose difference is half of the Fisher-Rao distance."""
    return np.asarray(np.arctan(np.exp(np.clip(h, -FARTHEST, FARTHEST) / 2)))


def fisher_rao(h: Array, other: Array) -> Array:
    """d_R = 2 |arctan e^(h'/2) - arctan e^(h/2)|, between 0 and π: Theorem 1, equation 9."""
    return np.asarray(2 * np.abs(angle(other) - angle(h)))


def squared_fisher_rao(h: Array, other: Array) -> Array:
    """d_R², what the FIRE risk (equation 7) is regularised by."""
    return np.asarray(fisher_rao(h, other) ** 2)


def kl(h: Array, other: Array) -> Array:
    """KL(q‖q') in nats, what the TRADES risk (equation 5) is regularised by."""
    p = expit(h)
    return np.asarray(p * (log_expit(h) - log_expit(other)) + (1 - p) * (log_expit(-h) - log_expit(-other)))


def squared_hellinger(h: Array, other: Array) -> Array:
    """H² = 2 (1 - Σ √(q q')), between 0 and 2: equation 46; as sin² of a quarter angle, which keeps every digit."""
    return np.asarray(4 * np.sin(fisher_rao(h, other) / 4) ** 2)


def squared_euclidean(h: Array, other: Array) -> Array:
    """Σ (q - q')² over both classes, between 0 and 2."""
    return np.asarray(2 * (expit(h) - expit(other)) ** 2)


REGULARISERS: dict[str, Callable[[Array, Array], Array]] = {
    "TRADES": kl, "FIRE": squared_fisher_rao, "Hellinger": squared_hellinger,
}  # fmt: skip
"""By the method whose risk has it."""
