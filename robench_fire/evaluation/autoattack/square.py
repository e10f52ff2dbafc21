"""Square under the L-infinity norm, pyautoattack's proposals in its order, none asked twice in vain.

Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via random search".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from robench_fire.problem.pgd import Forward

Area = tuple[slice, slice]
"""Rows and columns of an image or a feature map."""

QUERIES, SHARE = 5000, 0.8  # SHARE of the image's pixels change at first
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which that share is halved


def within(area: Area) -> tuple[slice, slice, slice, slice]:
    """The index of an area of images (N, C, H, W)."""
    down, across = area
    return slice(None), slice(None), down, across


class Change(NamedTuple):
    """A proposal: the area, and the colour (C, 1, 1) of signs that it moves to. ``key`` tells it from others."""

    area: Area
    colour: Tensor
    key: tuple[int, ...]


class Changes:
    """The proposals for images of a shape (C, H, W), drawn from torch's generator in the order of the queries."""

    def __init__(self, shape: torch.Size) -> None:
        self._shape, self._drawn = shape, list[Change]()

    def __getitem__(self, query: int) -> Change:
        """The one of a query, from 1 on."""
        while len(self._drawn) < query:
            self._drawn.append(self._next(len(self._drawn)))
        return self._drawn[query - 1]

    def _next(self, query: int) -> Change:
        colours, height, width = self._shape
        side = min(max(round(math.sqrt(_share(query) * height * width)), 1), height, width)
        top, left = _below(height - side), _below(width - side)
        colour = _signs((colours, 1, 1))
        key = (side, top, left, *(colour.flatten() > 0).tolist())
        return Change((slice(top, top + side), slice(left, left + side)), colour, key)


class Asked(Protocol):
    """A model with images (N, C, H, W) that are changed square by square, at most ``room`` at a time."""

    room: int

    def begin(self, best: Tensor) -> Tensor:
        """The logits of the images to begin with; they are changed with ``take``."""

    def ask(self, rows: Tensor, area: Area, values: Tensor) -> Tensor:
        """The logits of the images ``rows`` if ``area`` of each held ``values`` (N, C, h, w)."""

    def take(self, rows: Tensor, better: Tensor) -> None:
        """Change the images ``rows`` as was asked last, where ``better`` are their places."""

    def forget(self) -> None:
        """Free the memory."""


class Whole:
    """Asks the model about whole images. Who changes the ``best`` ones changes them here, too."""

    def __init__(self, forward: Forward, room: int) -> None:
        self._forward, self.room = forward, room

    def begin(self, best: Tensor) -> Tensor:
        self._best = best
        return self._forward(best)

    def ask(self, rows: Tensor, area: Area, values: Tensor) -> Tensor:
        new = self._best[rows]
        new[within(area)] = values
        return self._forward(new)

    def take(self, rows: Tensor, better: Tensor) -> None:
        pass

    def forget(self) -> None:
        del self._best


def square_linf(
    forward: Forward, x: Tensor, label: Tensor, eps: float, tick: Callable[[float], None],
    tracked: Asked | None = None,
) -> Tensor:  # fmt: skip
    """(N, C, H, W) the strongest perturbation of each image that 5,000 queries found, drawn from torch's generator.

    Each query changes the same square by the same colours in all images that still stand. With ``tracked``, the same
    model, only what a square reaches is computed, for as many images at a time as it can remember.
    """
    n, colours, _, width = x.shape
    best = torch.clamp(x + eps * _signs((n, colours, 1, width)).to(x.device), 0, 1)
    changes, model = Changes(x.shape[1:]), tracked or Whole(forward, n)
    size = model.room
    for begun in range(0, n, size):
        rows = slice(begun, begun + size)

        def told(done: float, begun: int = begun) -> None:
            tick((begun + done * min(size, n - begun)) / n)

        best[rows] = _searched(model, best[rows], x[rows], label[rows], eps, changes, told)
    model.forget()
    return best


def _searched(
    model: Asked, best: Tensor, x: Tensor, label: Tensor, eps: float, changes: Changes,
    tick: Callable[[float], None],
) -> Tensor:  # fmt: skip
    """``best`` after all changes that help.

    A change that an image refused cannot help it before another one does; the model, taken to be deterministic, is not
    asked again. Tiny grey images have so few different changes that this spares most queries.
    """
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    margin = _margins(model.begin(best), label)
    changed = torch.zeros(len(x), dtype=torch.long, device=x.device)  # the query that last changed each image
    refused: dict[tuple[int, ...], Tensor] = {}  # by change: the query in which each image last refused it
    standing = margin > 0
    for query in range(1, QUERIES + 1):
        if not standing.any():
            break
        tick(query / QUERIES)
        area, colour, key = changes[query]
        last = refused.setdefault(key, torch.full_like(changed, -1))
        rows = (standing & (last < changed)).nonzero().flatten()
        if not len(rows):
            continue
        at = within(area)
        new = (best[at][rows] + 2 * eps * colour.to(x.device)).maximum(low[at][rows]).minimum(high[at][rows])
        found = _margins(model.ask(rows, area, new), label[rows])
        better = (found < margin[rows]) | (found <= 0)
        last[rows[~better]], taken = query, rows[better]
        if not len(taken):
            continue
        model.take(taken, better.nonzero().flatten())
        best[at].index_copy_(0, taken, new[better])
        margin[taken], changed[taken] = found[better], query
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
