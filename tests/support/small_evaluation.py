"""A small evaluation that tests interrupt: weights in a folder, and the one call, importable by other processes."""

from __future__ import annotations

from functools import cache
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from robench_fire.data.batches import to_float
from robench_fire.datasets import digits
from robench_fire.evaluation import resumable
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Split
from robench_fire.progress import Report
from robench_fire.runs.model_source import ModelSource, source_from_file

TRAIN, _, TEST = digits.DATASET.splits(Path())
FULL = Evaluations(attacks=("aa",), eps=("0.15",), examples=44, batch_size=10)
NAME = "aa-Linf-0.15-44-batch10"
Facts = dict[str, Any]


@cache
def trained(seed: int) -> bytes:
    """The file of a network trained so briefly that the attacks break most images, and not all with the first."""
    torch.manual_seed(seed)
    net, few = DigitsCNN(), TRAIN.take(slice(256))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(to_float(few.images)), few.labels).backward()
        optimiser.step()
    return save(net.state_dict())


def placed(folder: Path, name: str = "net.safetensors") -> ModelSource:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(trained(0))
    return source_from_file(folder / name, "digits", "digits-cnn")


def run(source: ModelSource, wanted: Evaluations = FULL, test: Split = TEST, report: Report = lambda *_: None) -> Facts:
    (facts,) = resumable.evaluate_source(source, test, wanted, torch.device("cpu"), report, judge=False)
    return facts


def beside(source: ModelSource, ending: str, name: str = NAME) -> Path:
    return Path(f"{source.stem}.{name}{ending}")


def child(source: ModelSource, begun: Event) -> None:
    """In a process of its own: the same call as ever, saying when the attacks begin."""
    torch.set_num_threads(1)
    run(source, report=lambda *_: None if begun.is_set() else begun.set())
