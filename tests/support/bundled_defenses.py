"""The bundled defenses and logits for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from robench_fire.problem import registry
from robench_fire.problem.defense import Defense, Standard, Terms, Views
from robench_fire.problem.targets import recalled

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


def random_views(n: int = 6, num_classes: int = 5, spread: float = 2.0) -> Views:
    generator = torch.Generator().manual_seed(0)
    clean, adv = (spread * torch.randn(n, num_classes, generator=generator, dtype=torch.float64) for _ in range(2))
    label = torch.randint(num_classes, (n,), generator=generator)
    weight = 0.5 + torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return complete(Views(clean, adv, weight * one_hot(label, num_classes), label))


def complete(views: Views) -> Views:
    """With all that a loss of any bundled defense reads besides: each example's own; one gradient is 0."""
    kinds, index = [defense_of(name) for name in NAMES], torch.arange(len(views.label))
    more = {each.name: 2 * views.adv - views.natural for kind in kinds for each in kind.further}
    teacher = {each: views.natural.flip(1) for kind in kinds for each in kind.teacher_reads}
    memories = [(kind.targets, kind.targets.init(views.label, views.target.shape[1])) for kind in kinds]
    names = {name for targets, memory in memories for name in recalled(targets, memory, index)}
    share = torch.softmax(views.natural.detach().roll(1, 1).to(views.target.dtype) / 2, 1)
    generator = torch.Generator().manual_seed(3)
    slopes = torch.randn(len(more) + 2, len(views.label), 7, generator=generator).double()
    slopes[0, 0] = 0
    gradients = dict(zip(["clean", "adv", *more], slopes, strict=True))
    return views._replace(more=more, teacher=teacher, recalled=dict.fromkeys(names, share), gradients=gradients)


def total(terms: Terms) -> Tensor:
    """How a loss is totalled: the sum over terms of the mean over the batch."""
    return torch.stack([term.mean() for term in terms.values()]).sum()
