"""Small models that are evaluated."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.evaluation.autoattack.attacked_model import attacked_model
from robench_fire.evaluation.autoattack.units import here
from robench_fire.evaluation.evaluate import Result, attacks_of, fill, result
from robench_fire.evaluation.record import Record
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Split
from robench_fire.problem.threat import Linf, Threat
from robench_fire.progress import Report
from robench_fire.quantity import Quantity
from robench_fire.training.setup import frozen

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


def evaluate(
    name: str, model: nn.Module, test: Split, threat: Threat, *, num_classes: int, seed: int, batch_size: int,
    report: Report,
) -> Result:  # fmt: skip
    """Run the evaluation ``name`` of SETS here and now, on every image of ``test`` that ``model`` classifies correctly.

    The model and the split share a device. "pgd20" is PGD on cross-entropy with 20 steps of eps / 10 from a uniform
    start, the others are AutoAttack's.

    Raises:
        DataError: if the images leave [0, 1] or the model does not return finite logits.
    """
    with frozen(model):
        attacked, flags = attacked_model(
            model, to_float(test.images), test.labels, threat, num_classes=num_classes, seed=seed,
            batch_size=batch_size,
        )  # fmt: skip
        record = Record({}, flags=set(flags))
        fill(record, attacked, attacks_of(name, num_classes), here(attacked), lambda name, ended: None, report)
    return result(record)
