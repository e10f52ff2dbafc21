"""Models that mask their gradients, and one that does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import nn

from robench_fire.data.batches import to_float
from robench_fire.datasets import digits
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel, attacked_model
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Split
from robench_fire.problem.pgd import Pgd, misclassify
from robench_fire.problem.threat import Linf
from robench_fire.quantity import Quantity

SMALL = Linf(eps=Quantity("0.1"))


TRANSFER = "transfer is weaker than white-box"


def quiet(stage: str, done: int, total: int, note: str) -> None:
    pass


@cache
def taught(seed: int, adversarial: bool = False) -> nn.Module:
    """A network trained for a second or two, on clean digits or on PGD's."""
    few = digits.DATASET.splits(Path()).train.take(slice(512))
    x, pgd, draw = to_float(few.images), Pgd(steps=5, step=Quantity("0.03"), start="uniform"), torch.Generator()
    torch.manual_seed(seed)
    net = DigitsCNN()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(50):
        seen = pgd(net, misclassify(few.labels), x, SMALL, draw) if adversarial else x
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(seen), few.labels).backward()
        optimiser.step()
    return net.eval()


def attacked(model: nn.Module, split: Split, eps: str = "0.1") -> tuple[AttackedModel, list[str]]:
    return attacked_model(
        model, to_float(split.images), split.labels, Linf(eps=Quantity(eps)), num_classes=10, seed=0, batch_size=32
    )
