"""Where AutoAttack's seconds go: per attack, what it asks of the model, and how long the model and the rest take.

    robench train fire digits --seeds 1 --no-eval
    python benchmarks/attack_accounting.py runs --out results/attack-accounting.json
    python benchmarks/attack_accounting.py --random resnet-18 --eps 0.001 --examples 6 --out FILE

Each run's first images, one block, one process; seconds are the processor's. Forwards and backwards are counted in
images; a backward is the gradient of the images alone. ``--random``: a network of random weights on CIFAR-10's images
and its own predictions, for seconds that do not depend on the weights. Models that the file holds already stay in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.evaluation.autoattack.attack_sets import SETS
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel, attacked_model
from robench_fire.evaluation.autoattack.patches import Tracked
from robench_fire.evaluation.autoattack.square import Area, Asked, Change, Changes, Whole, within
from robench_fire.files import write_json
from robench_fire.models import architectures
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset, Split, head
from robench_fire.problem.pgd import Forward
from robench_fire.problem.threat import Linf, Threat
from robench_fire.quantity import Quantity
from robench_fire.runs import provenance
from robench_fire.runs.folders import find, read_json
from robench_fire.runs.model_source import source_of

CPU = torch.device("cpu")
PRODUCTS = ("convolution", "addmm", "mm")
"""Operators that compute products, as torch.profiler names them."""


@dataclass
class Spent:
    """Images shown to the model, gradients of images, calls, and the seconds of both.

    ``computed``: forwards, those of which only a part was computed counting in part.
    """

    forwards: int = 0
    computed: float = 0.0
    backwards: int = 0
    calls: int = 0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0


class Mark(torch.autograd.Function):
    """What it is given; calls ``note`` with the gradient on its way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, note: Callable[[Tensor], None]) -> Tensor:
        ctx.note = note
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.note(grads[0])
        return grads[0], None


def counted(forward: Forward, spent: Spent) -> Forward:
    """``forward``, with what it does added to ``spent``."""
    began = 0.0

    def begin(grad: Tensor) -> None:
        nonlocal began
        began = time.process_time()
        spent.backwards += len(grad)

    def end(grad: Tensor) -> None:
        spent.backward_seconds += time.process_time() - began

    def asked(x: Tensor) -> Tensor:
        spent.forwards, spent.computed, spent.calls = spent.forwards + len(x), spent.computed + len(x), spent.calls + 1
        started = time.process_time()
        graph = torch.is_grad_enabled() and x.requires_grad
        logits = forward(cast(Tensor, Mark.apply(x, end)) if graph else x)
        spent.forward_seconds += time.process_time() - started
        return cast(Tensor, Mark.apply(logits, begin)) if graph else logits

    return asked


class Watched:
    """A tracked model, with what it does added to ``spent``."""

    def __init__(self, tracked: Tracked, spent: Spent) -> None:
        self._tracked, self._spent, self.room = tracked, spent, tracked.room

    def begin(self, best: Tensor) -> Tensor:
        return self._added(len(best), lambda: self._tracked.begin(best))

    def ask(self, rows: Tensor, area: Area, values: Tensor) -> Tensor:
        return self._added(len(rows), lambda: self._tracked.ask(rows, area, values))

    def take(self, rows: Tensor, better: Tensor) -> None:
        started = time.process_time()
        self._tracked.take(rows, better)
        self._spent.forward_seconds += time.process_time() - started

    def forget(self) -> None:
        self._tracked.forget()

    def _added(self, images: int, asked: Callable[[], Tensor]) -> Tensor:
        started = time.process_time()
        logits = asked()
        self._spent.forward_seconds += time.process_time() - started
        self._spent.forwards, self._spent.calls = self._spent.forwards + images, self._spent.calls + 1
        self._spent.computed += images * self._tracked.computed
        return logits


def account(attacked: AttackedModel) -> dict[str, dict[str, float]]:
    """Of each attack of the standard set: what entered, fell, was asked, and how long it all took."""
    standing, found = attacked.clean(0), {}
    for attack in SETS["aa"]:
        spent = Spent()
        tracked = Watched(cast(Tracked, attacked.tracked), spent) if attacked.tracked else None
        watched = replace(attacked, forward=counted(attacked.forward, spent), tracked=tracked)
        started = time.process_time()
        left = watched.stand(attack, 0, standing, lambda done: None).robust
        seconds = time.process_time() - started
        entered = int(standing.sum())
        broken = entered - int(left.sum())
        found[attack.name] = {"entered": entered, "broken": broken, "seconds": seconds, **vars(spent)}
        standing = left
    return found


SQUARE = {5: 50, 100: 150, 300: 300, 700: 500, 1500: 1000, 3000: 2000, 4500: 1000}
"""Queries of Square, each for so many of the 5,000: those with squares of its size."""


def reached(attacked: AttackedModel, counts: tuple[int, ...] = (10, 30, 65), times: int = 10) -> dict[int, float]:
    """By number of images: Square's questions of the tracked model, to those of the whole, in seconds; in turns."""
    found: dict[int, float] = {}
    for count in counts if attacked.tracked else ():
        x = attacked.images[:1].expand(count, -1, -1, -1).contiguous()
        asked: tuple[Asked, Asked] = cast(Tracked, attacked.tracked), Whole(attacked.forward, count)
        changes, spent = Changes(x.shape[1:]), [0.0, 0.0]
        with torch.no_grad():
            for each in asked:
                each.begin(x)
            for first, weight in SQUARE.items():
                turns = [[_question(each, changes[first + 4 * k], x) for each in asked] for k in range(times)]
                for way in (0, 1):
                    spent[way] += weight * statistics.median(turn[way] for turn in turns)
        asked[0].forget()
        found[count] = spent[0] / spent[1]
    return found


def _question(asked: Asked, change: Change, x: Tensor) -> float:
    values = x[within(change.area)] + 0.03 * change.colour
    started = time.process_time()
    asked.ask(torch.arange(len(x)), change.area, values)
    return time.process_time() - started


def products(forward: Forward, x: Tensor) -> dict[str, float]:
    """The share of convolutions and matrix products in the seconds of a forward, and of one with its gradient."""

    def once(graph: bool) -> float:
        asked = x.clone().requires_grad_(graph)
        with torch.set_grad_enabled(graph), torch.profiler.profile() as profile:
            for _ in range(10):
                logits = forward(asked)
                if graph:
                    torch.autograd.grad(logits.sum(), asked)
        times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
        mine = sum(spent for name, spent in times.items() if any(part in name for part in PRODUCTS))
        return float(mine / sum(times.values()))

    once(False)
    return {"forward": once(False), "with gradient": once(True)}


def measured(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, batch: int) -> dict[str, Any]:
    """The accounting of one model, with its clean accuracy."""
    attacked, _ = attacked_model(model, images, labels, threat, num_classes=10, seed=0, batch_size=batch)
    share = products(attacked.forward, images[:50])
    clean = float(np.mean(attacked.clean(0)))
    return {"examples": len(labels), "clean": 100 * clean, "products": share, "attacks": account(attacked),
            "reached": reached(attacked)}  # fmt: skip


def test_images(dataset: str, examples: int) -> Split:
    """The first of a data set."""
    parts: Dataset = registry.load("datasets", dataset).module.DATASET
    return head(fetching.splits(dataset, parts, fetching.data_folder()).test, examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--random", help="an architecture of random weights")
    parser.add_argument("--eps", default="8/255", help="its radius")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    told: dict[str, Any] = read_json(asked.out) if asked.out.exists() else {"models": {}}
    for run in (run for folder in asked.runs for run in find(folder)):
        source = source_of(run)
        test = test_images(source.dataset, asked.examples)
        name = f"{source.arch}, {source.dataset}"
        model, count = source.load(CPU), len(test.labels)
        told["models"][name] = measured(model, to_float(test.images), test.labels, source.claim, count)
    if asked.random:
        torch.manual_seed(0)
        model = architectures.build(asked.random, (3, 32, 32), 10, "none", (), ()).eval()
        x = to_float(test_images("cifar10", asked.examples).images)
        with torch.no_grad():
            label = model(x).argmax(1)
        threat = Linf(eps=Quantity(asked.eps))
        told["models"][f"{asked.random}, random weights"] = measured(model, x, label, threat, len(x))
    told |= {"device": provenance.device_name(CPU), "threads": torch.get_num_threads()}
    told["versions"] = provenance.versions()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.out, told)


if __name__ == "__main__":
    main()
