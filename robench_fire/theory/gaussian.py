"""Accuracy and robustness of a linear classifier of two Gaussian classes: Picot et al., section 4.

Classes y = ±1 are equally likely, x|y ~ N(y mu, Sigma), the attack moves x by eps in the 2-norm against the label.
Accuracies depend on the direction of theta alone, (cos alpha, sin alpha).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats
from scipy.special import log_expit

from robench_fire.theory.distances import REGULARISERS, Array

MU, SIGMA, EPS = np.array([-0.0218, 0.0425]), np.array([[0.0212, 0.0036], [0.0036, 0.0042]]), 0.1
"""The paper's, below its Fig. 6."""
PAPER = {"alpha_nat": 1.814, "accuracy_nat": (0.784, 0.183), "alpha_adv": 2.783, "accuracy_adv": (0.608, 0.309)}
"""What its footnote 3 gives: angles and pairs of (natural, adversarial) accuracy."""
LAMBDAS = (0.0, *(float(each) for each in np.geomspace(0.01, 1e4, 13)))


@dataclass(frozen=True)
class Model:
    """The two classes and the radius."""

    mu: Array
    sigma: Array
    eps: float

    def accuracies(self, theta: Array) -> tuple[Array, Array]:
        """(1 - P_e, 1 - P'_e) of classifiers theta (..., 2): equations 20 and 21."""
        spread = np.sqrt(np.einsum("...i,ij,...j->...", theta, self.sigma, theta))
        margin, norm = theta @ self.mu, np.linalg.norm(theta, axis=-1)
        return stats.norm.cdf(margin / spread), stats.norm.cdf((margin - self.eps * norm) / spread)

    def bounds(self, natural: Array) -> tuple[Array, Array]:
        """(lowest, highest) adversarial accuracy at a natural accuracy: Proposition 2, equations 22 and 23."""
        lengths = np.linalg.eigvalsh(self.sigma)
        worst, mildest = (self.eps / np.sqrt(each) for each in (lengths[0], lengths[-1]))
        error = stats.norm.ppf(1 - natural)
        return 1 - stats.norm.cdf(worst + error), 1 - stats.norm.cdf(mildest + error)

    def drawn(self, count: int, seed: int) -> tuple[Array, Array]:
        """``count`` samples of each class, x (2 count, 2) and y (2 count,)."""
        noise = np.random.default_rng(seed).multivariate_normal(np.zeros(2), self.sigma, 2 * count)
        y = np.repeat([1.0, -1.0], count)
        return y[:, None] * self.mu + noise, y


PAPERS = Model(MU, SIGMA, EPS)


class Curve(NamedTuple):
    """Every direction alpha in [0, 2 pi], its two accuracies, and whether no direction beats it in both."""

    alpha: Array
    natural: Array
    adversarial: Array
    pareto: Array

    def at(self, number: int) -> tuple[float, float, float]:
        return float(self.alpha[number]), float(self.natural[number]), float(self.adversarial[number])

    @property
    def maa(self) -> tuple[float, float]:
        """(alpha, value) of the maximum average accuracy: equation 24."""
        average = (self.natural + self.adversarial) / 2
        return float(self.alpha[average.argmax()]), float(average.max())


def curve(model: Model = PAPERS, points: int = 20_001) -> Curve:
    """All that a linear classifier can reach: Fig. 6a."""
    alpha = np.linspace(0, 2 * np.pi, points)
    natural, adversarial = model.accuracies(directions(alpha))
    order = np.lexsort((-adversarial, -natural))  # the best natural accuracy first
    before = np.maximum.accumulate(np.concatenate([[-1.0], adversarial[order][:-1]]))
    pareto = np.zeros(points, bool)
    pareto[order] = adversarial[order] > before
    return Curve(alpha, natural, adversarial, pareto)


def directions(alpha: Array) -> Array:
    """Unit vectors (..., 2)."""
    return np.stack([np.cos(alpha), np.sin(alpha)], -1)


class Solution(NamedTuple):
    """What minimising a risk at one lam comes to. ``converged``: whether BFGS says so."""

    lam: float
    alpha: float
    norm: float
    natural: float
    adversarial: float
    converged: bool


def solutions(
    method: str, lams: Sequence[float] = LAMBDAS, model: Model = PAPERS, count: int = 10_000, seed: int = 0
) -> list[Solution]:
    """The empirical risk minima of "TRADES", "FIRE" or "Hellinger" over lam: Fig. 6b, 6c and 9.

    Cross-entropy of clean samples + lam times the regulariser between x and the attacked x, by BFGS from theta = 0.
    """
    x, y = model.drawn(count, seed)
    regulariser = REGULARISERS[method]

    def risk(theta: Array, lam: float) -> float:
        h = x @ theta
        attacked = h - model.eps * y * np.linalg.norm(theta)  # equation 19 in closed form
        return float(-log_expit(y * h).mean() + lam * regulariser(h, attacked).mean())

    found = []
    for lam in lams:
        least = optimize.minimize(risk, np.zeros(2), args=(lam,), method="BFGS")
        natural, adversarial = model.accuracies(least.x)
        alpha = float(np.arctan2(least.x[1], least.x[0]) % (2 * np.pi))
        norm = float(np.linalg.norm(least.x))
        found.append(Solution(lam, alpha, norm, float(natural), float(adversarial), bool(least.success)))
    return found


class Covered(NamedTuple):
    """How much of the Pareto-optimal arc a method's solutions reach. ``maa``: the best average accuracy among them."""

    share: float
    maa: float
    farthest: float


def covered(found: Sequence[Solution], whole: Curve) -> Covered:
    """The share, in angle, of the arc between the two extreme Pareto-optimal directions."""
    arc = whole.alpha[whole.pareto]
    low, high = float(arc.min()), float(arc.max())
    angles = np.clip([each.alpha for each in found], low, high)
    best = max((each.natural + each.adversarial) / 2 for each in found)
    return Covered(float((angles.max() - angles.min()) / (high - low)), best, float(max(each.alpha for each in found)))
