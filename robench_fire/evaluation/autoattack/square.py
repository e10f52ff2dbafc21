"""Square under the L-infinity norm, pyautoattack's proposals in its order, none asked twice in vain.

Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via random search".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from robench_fire.problem.pgd import Forward

QUERIES, SHARE = 5000, 0.8  # SHARE of the image's pixels change at first
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which that share is halved


def square_linf(forward: Forward, x: Tensor, label: Tensor, eps: float, tick: Callable[[float], None]) -> Tensor:
    """(N, C, H, W) the strongest perturbation of each image that 5,000 queries found, drawn from torch's generator.

    Each query changes the same square by the same colours in all images that still stand. A change that an image
    refused cannot help it before another one does; the model, taken to be deterministic, is not asked again. Tiny grey
    images have so few different changes that this spares most queries.
    """
    n, colours, height, width = x.shape
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    best = torch.clamp(x + eps * _signs((n, colours, 1, width)).to(x.device), 0, 1)
    margin = _margins(forward(best), label)
    changed = torch.zeros(n, dtype=torch.long, device=x.device)  # the query that last changed each image
    refused: dict[tuple[int, ...], Tensor] = {}  # by change: the query in which each image last refused it
    standing = margin > 0
    for query in range(1, QUERIES + 1):
        if not standing.any():
            break
        tick(query / QUERIES)
        side = min(max(round(math.sqrt(_share(query - 1) * height * width)), 1), height, width)
        top, left = _below(height - side), _below(width - side)
        colour = _signs((colours, 1, 1))
        last = refused.setdefault((side, top, left, *(colour.flatten() > 0).tolist()), torch.full_like(changed, -1))
        rows = (standing & (last < changed)).nonzero().flatten()
        if not len(rows):
            continue
        new, area = best[rows], (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
        new[area] = (new[area] + 2 * eps * colour.to(x.device)).maximum(low[area][rows]).minimum(high[area][rows])
        found = _margins(forward(new), label[rows])
        better = (found < margin[rows]) | (found <= 0)
        last[rows[~better]], taken = query, rows[better]
        best[taken], margin[taken], changed[taken] = new[better], found[better], query
        standing[taken] = margin[taken] > 0
    return best


def _signs(shape: tuple[int, ...]) -> Tensor:
    return torch.sign(2 * torch.rand(shape) - 1)


def _below(bound: int) -> int:
    return int(bound * torch.rand(1))


def _share(query: int) -> float:
    return SHARE / 2.0 ** sum(query > bound for bound in HALVED)


def _margins(logits: Tensor, label: Tensor) -> Tensor:
    """(N,) the label's logit above the largest other one; not positive where the image is misclassified."""
    own = logits.gather(1, label[:, None])
    return (own - logits.scatter(1, label[:, None], -torch.inf).amax(1, keepdim=True)).flatten()
