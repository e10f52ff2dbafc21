"""What test_process_group.py asks of rb.Objective in one process and in two."""

from __future__ import annotations

from pathlib import Path

import needs
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from robench_fire.api.objective import Objective
from robench_fire.datasets import digits
from robench_fire.devices.process_group import ProcessGroup
from robench_fire.errors import RecipeError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.plan import Plan
from robench_fire.training.engine import initialised


class Double(DigitsCNN):
    """Computes in float64, so that what two processes find differs from one by next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


def objective(group: ProcessGroup) -> dict[str, Tensor]:
    """The mean gradient of two halves of a batch: of DistributedDataParallel as people use it, or of one after another.

    Its buffers are sent around, and batch norm sees each half alone.
    """
    split, gradients = digits.DATASET.splits(Path()).train.take(slice(32)), []
    for half in range(2) if group.size == 1 else [group.rank]:
        model: nn.Module = nn.Sequential(nn.BatchNorm2d(1), initialised(Double, 0))
        x, y = split.images.chunk(2)[half] / 255, split.labels.chunk(2)[half]
        wrapped = model if group.size == 1 else DistributedDataParallel(model)
        for _ in range(2):  # of the second update
            model.zero_grad()
            terms = Objective("fire", threat="0.2", steps=4, num_classes=10, seed=half)(wrapped, x, y)
            torch.stack([each.mean() for each in terms.values()]).sum().backward()
        gradients.append({name: each.grad for name, each in model.named_parameters() if each.grad is not None})
    return {name: torch.stack([each[name] for each in gradients]).mean(0) for name in gradients[0]}


def objective_refused(group: ProcessGroup) -> str:
    """A loss of the whole batch, of which each process has a part."""
    given, model = needs.problem("batch term"), DigitsCNN()
    plan = Plan(
        name="mine", dataset="digits", profile="matched", defense=given.defense, threat=given.threat,
        claim=given.threat, recipe=given.recipe,
    )  # fmt: skip
    wrapped = model if group.size == 1 else DistributedDataParallel(model)
    try:
        Objective(plan)(wrapped, given.train.images[:4] / 255, given.train.labels[:4], progress=1.0)
    except RecipeError as fault:
        return str(fault)
    return ""
