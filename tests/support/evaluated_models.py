"""Small models that are evaluated."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robench_fire.evaluation.evaluate import Result, evaluate
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Split
from robench_fire.problem.threat import Linf, Threat
from robench_fire.quantity import Quantity

SMALL = Linf(eps=Quantity("0.1"))


def quiet(stage: str, done: int, total: int, note: str) -> None:
    pass


def taught(images: Tensor, labels: Tensor) -> nn.Module:
    """A network trained for a second on clean digits."""
    torch.manual_seed(0)
    net = DigitsCNN()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
    return net


def run(attack: str, model: nn.Module, split: Split, threat: Threat = SMALL, seed: int = 0, batch: int = 64) -> Result:
    return evaluate(attack, model, split, threat, num_classes=10, seed=seed, batch_size=batch, report=quiet)
