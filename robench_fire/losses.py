"""Per-example losses and divergences between logits.

Every function takes logits (N, C) and returns (N,). All are computed in float32 or wider, whatever the input's type,
from log-softmax, so that value and gradient are finite at equal, at saturated and at opposite predictions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_SERIES = (1.0, 1 / 3, 8 / 45, 4 / 35, 128 / 1575, 128 / 2079, 1024 / 21021, 256 / 6435)  # of arcsin²(√t) in t
_EVEN = tuple(1 / (2 * n * (2 * n - 1)) for n in range(1, 9))  # of x tanh x - log cosh x in tanh² x
_LOG_2 = math.log(2)


def log_softmax(logits: Tensor) -> Tensor:
    """(N, C) log-probabilities in float32 or wider; finite, however far apart finite logits are."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.log_softmax(logits, 1, dtype=wide).clamp_min(torch.finfo(wide).min / 4)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-sum_k target_k log p_k; ``target`` (N, C) is non-negative and a row's mass is that example's weight."""
    return -(target * log_softmax(logits)).sum(1)


def kl(reference: Tensor, logits: Tensor) -> Tensor:
    """KL(p‖q) of p = softmax(reference) and q = softmax(logits); gradient flows through both (TRADES, eq. 5).

    The target stays in log space: a probability that underflows to 0 would make the gradient of p log p a NaN.
    """
    log_p, log_q = log_softmax(reference), log_softmax(logits)
    found = (log_p.exp() * (log_p - log_q)).sum(1)
    return torch.where(found < 0, found - found.detach(), found)  # rounding near equality; its gradient is right


def distance(a: Tensor, b: Tensor) -> Tensor:
    """‖a - b‖₂ of each row, in float32 or wider; where both are equal, value and gradient are 0."""
    wide = torch.promote_types(a.dtype, torch.float32)
    squared = (a.to(wide) - b.to(wide)).square().sum(1)
    apart = squared > 0
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


def _quarter_chord(a: Tensor, b: Tensor) -> Tensor:
    """t = sin²(θ/2) with cos θ = Σ √(p_k q_k): a quarter of the squared chord between √p and √q on the sphere.

    Never formed as 1 - Σ √(p q), which loses every digit near equality; the clamp only catches rounding at t = 1/2.
    """
    chord = (log_softmax(a) / 2).exp() - (log_softmax(b) / 2).exp()
    return (chord.square().sum(1) / 4).clamp_max(0.5)


def _squared_arcsine_of_root(t: Tensor) -> Tensor:
    """arcsin²(√t) for t in [0, 1/2], analytic at 0: a power series below 0.01, the closed form above.

    Each branch is fed a harmless constant where the other one is used, so that neither can produce a NaN gradient.
    """
    small = t < 0.01
    near, far = t.masked_fill(~small, 0.0), t.masked_fill(small, 0.25)
    return torch.where(small, _power_series(near, _SERIES), far.sqrt().arcsin().square())


def _power_series(t: Tensor, coefficients: Sequence[float]) -> Tensor:
    """c_1 t + c_2 t² + ..."""
    total = torch.zeros_like(t)
    for coefficient in reversed(coefficients):
        total = t * (coefficient + total)
    return total


def squared_half_angle(a: Tensor, b: Tensor) -> Tensor:
    """θ² with θ = arccos(Σ_k √(p_k q_k)), at most π²/4: the distance in FIRE's released code."""
    return 4 * _squared_arcsine_of_root(_quarter_chord(a, b))


def squared_hellinger(a: Tensor, b: Tensor) -> Tensor:
    """H² = 2 (1 - Σ_k √(p_k q_k)) = Σ_k (√p_k - √q_k)², at most 2 (FIRE, appendix B)."""
    return 4 * _quarter_chord(a, b)


def squared_fisher_rao(a: Tensor, b: Tensor) -> Tensor:
    """d_R² = (2θ)², at most π²: the squared geodesic distance of FIRE, eq. 15 (Theorem 2)."""
    return 4 * squared_half_angle(a, b)


def _middle(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C) of each class the mean m of p_k and q_k, and d = log p_k - log q_k, so that p_k - q_k = 2 m tanh(d/2)."""
    log_p, log_q = log_softmax(a), log_softmax(b)
    return (log_p.exp() + log_q.exp()) / 2, log_p - log_q


def jensen_shannon(a: Tensor, b: Tensor) -> Tensor:
    """JS = ½ KL(p‖m) + ½ KL(q‖m) with m = (p + q)/2, at most log 2 (Lin 1991).

    Class by class it is m g(d/2) with g(x) = x tanh x - log cosh x >= 0. As g is analytic in tanh² x, it is a power
    series where that is below 0.01, and else the closed form, in e = exp(-|d|), which nothing overflows.
    """
    middle, d = _middle(a, b)
    squared = (d / 2).tanh().square()
    small = squared < 0.01
    far = d.masked_fill(small, 1.0).abs()
    e = (-far).exp()
    closed = _LOG_2 - e.log1p() - far * e / (1 + e)
    return (middle * torch.where(small, _power_series(squared.masked_fill(~small, 0.0), _EVEN), closed)).sum(1)


def total_variation(a: Tensor, b: Tensor) -> Tensor:
    """TV = ½ Σ_k |p_k - q_k|, at most 1. It has no gradient where p_k = q_k; there it is 0."""
    middle, d = _middle(a, b)
    return (middle * (d / 2).tanh().abs()).sum(1)


def weighted_mse(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """¼ Σ_jk w_j w_k ((a_j - a_k) - (b_j - b_k))² of logits, with ``weight`` (N, C), whose rows sum to 1 (Cui et al.).

    It is half the variance, under w, of the logits' difference: so it is computed, in C terms and not C².
    """
    wide = torch.promote_types(a.dtype, torch.float32)
    apart = a.to(wide) - b.to(wide)
    return (weight * (apart - (weight * apart).sum(1, keepdim=True)).square()).sum(1) / 2


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of the angle between the rows of ``a`` and ``b`` (N, D); 0 without a gradient for a row of zeros."""
    return (_direction(a) * _direction(b)).sum(1)


def _direction(x: Tensor) -> Tensor:
    """Each row at length 1. Scaled first: the squares of a confident image's gradient would underflow."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    largest = x.detach().abs().amax(1, keepdim=True)
    some = largest > torch.finfo(x.dtype).tiny
    x = torch.where(some, x, 0.0) / torch.where(some, largest, 1.0)
    return x / torch.where(some, x.square().sum(1, keepdim=True), 1.0).sqrt()


def nuclear_norm(matrix: Tensor) -> Tensor:
    """() the sum of the singular values of ``matrix`` (N, C), in float32 or wider."""
    values: Tensor = torch.linalg.svdvals(matrix.to(torch.promote_types(matrix.dtype, torch.float32)))
    return values.sum()
