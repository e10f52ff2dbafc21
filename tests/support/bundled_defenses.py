"""The bundled defenses and logits for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from robench_fire.problem import registry
from robench_fire.problem.defense import Defense, Standard, Terms, Views

NAMES = sorted(registry.names("defenses"))


each_name = pytest.mark.parametrize("name", NAMES)


def defense_of(name: str, **changes: Any) -> Defense:
    found: Defense = registry.load("defenses", name).module.DEFENSE
    return replace(found, **changes)


def gains(defense: Defense, views: Views) -> list[Tensor]:
    """What its attack maximises; nothing for standard training, which has none."""
    return [] if type(defense) is Standard else [defense.inner(views)]


def one_hot(label: Tensor, num_classes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.eye(num_classes, dtype=dtype)[label]


def over_batch(defense: Defense, views: Views, problem: str = "outer") -> list[Tensor]:
    """What it computes of the batch as a whole, in its loss or in its attack."""
    if problem == "outer":
        return list(defense.over_batch(views).values())
    return [defense.inner_over_batch(views)] if defense.has_batch_gain else []


def given_more(views: Views) -> Views:
    """With logits and gradients of all images that any bundled defense reads; one gradient is 0."""
    every, (n, width) = [defense_of(name) for name in NAMES], (len(views.label), 7)
    further = sorted({view.name for each in every for view in each.further})
    generator = torch.Generator().manual_seed(3)
    more = {name: views.adv.flip(0) * (1 + at) for at, name in enumerate(further)}
    made = torch.randn(len(further) + 2, n, width, generator=generator).double()
    made[0, 0] = 0
    return views._replace(more=more, gradients=dict(zip(["clean", "adv", *further], made, strict=True)))


def random_views(n: int = 6, num_classes: int = 5, spread: float = 2.0) -> Views:
    generator = torch.Generator().manual_seed(0)
    clean, adv = (spread * torch.randn(n, num_classes, generator=generator, dtype=torch.float64) for _ in range(2))
    label = torch.randint(num_classes, (n,), generator=generator)
    weight = 0.5 + torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return given_more(Views(clean, adv, weight * one_hot(label, num_classes), label))


def total(terms: Terms) -> Tensor:
    """How a loss is totalled: the sum over terms of the mean over the batch."""
    return torch.stack([term.mean() for term in terms.values()]).sum()
