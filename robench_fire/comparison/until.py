"""The difference of two methods on the test set, from as few of its images as will tell.

The images come in a random order, block by block, and a confidence sequence (statistics/sequential.py) says after each
block what the difference on all of them can still be. One may look at it as often as one likes, and stop for any
reason, so it does not matter that one stops where the answer is clear.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from robench_fire.comparison.blocks import Blocks, in_blocks
from robench_fire.comparison.scores import Metric
from robench_fire.comparison.until_text import Known
from robench_fire.data import fetching
from robench_fire.devices.device import use
from robench_fire.errors import DataError, UsageError, unknown
from robench_fire.evaluation.evaluator import Evaluations, Evaluator
from robench_fire.problem.threat import Threat
from robench_fire.progress import Event, Listen, Listening
from robench_fire.runs import folders
from robench_fire.runs.filters import plain
from robench_fire.runs.folders import Run
from robench_fire.runs.model_source import ModelSource, source_of
from robench_fire.statistics.sequential import interval


class Asked(NamedTuple):
    """``points``: the half width of the interval that is enough, in percentage points."""

    points: float
    metric: Metric
    attack: str
    seed: int
    eps: str = ""


@dataclass(frozen=True)
class Method:
    """The trained seeds of a plan."""

    names: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def method(self) -> str:
        return self.names[1]

    @property
    def plan(self) -> str:
        return self.names[-1]


def points(text: str) -> float:
    """The precision that a text asks for, in points.

    Raises:
        UsageError: unless it is a number above 0 and at most 100.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found <= 100:
        raise UsageError(f"--until {text}: expected points of accuracy above 0 and at most 100, like 0.5")
    return found


def block_size(images: int) -> int:
    """How many images lie between two looks: a twentieth, at most 100, at least 10."""
    return min(100, max(10, images // 20))


def compare_until(
    folder: Path, names: Sequence[str], asked: Asked, data: Path, device: torch.device, listening: Listening
) -> Known:
    """Attack the trained seeds of two methods on as many images as ``asked`` takes; the same call again goes on.

    Raises:
        UsageError: if the names are not two methods of ``folder``, or were not trained for the same thing.
        DataError: if there are no trained runs, or weights or images are missing.
    """
    one, other = _pair(folder, names)
    sources = [[source_of(run) for run in each.runs] for each in (one, other)]
    first = sources[0][0]
    dataset = first.parts()
    use(device)
    test = fetching.splits(first.dataset, dataset, data).test
    wanted = Evaluations(
        attacks=(asked.attack,), seed=asked.seed, batch_size=block_size(dataset.examples or len(test.labels)),
        shuffled=True, eps=(asked.eps,) if asked.eps else (),
    )  # fmt: skip
    wanted.check(first.dataset, dataset.num_classes)
    threats = [wanted.threats(own[0])[0] for own in sources]
    _check_alike(one, other, [own[0] for own in sources], threats)
    both = [[Evaluator(source, test, wanted, device) for source in own] for own in sources]
    try:
        with listening(1, "comparison") as listen:
            return _known(one, other, both, threats[0], asked, listen)
    except torch.OutOfMemoryError:
        raise DataError(
            f"out of memory with {len(both[0]) + len(both[1])} networks at once; use --device cpu"
        ) from None


def _pair(folder: Path, names: Sequence[str]) -> tuple[Method, Method]:
    if len(names) != 2:
        raise UsageError(f"--until compares two methods, not {len(names)}: name one and the one it is compared with")
    runs = [run for run in folders.find(folder) if run.trained]
    if not runs:
        raise DataError(
            f"{folder} holds no trained run, whose networks --until attacks: name a folder of runs, "
            "or leave --until out to compare rows of a board"
        )
    plans: dict[Path, list[Run]] = {}
    for run in runs:
        plans.setdefault(run.folder.parent, []).append(run)
    known = [Method(_names(each[0]), tuple(each)) for each in plans.values()]
    one, other = (_named(known, name) for name in names)
    if one == other:
        raise UsageError(f"{names[0]} and {names[1]} are the same plan, {one.plan}: name two that differ")
    return one, other


def _names(run: Run) -> tuple[str, ...]:
    """What a user may call a plan by: its defense first, its fingerprint last."""
    plan, paper = run.read("plan.json"), run.read("provenance.json")["paper"]
    return str(plan["name"]), str(paper["method"]), str(paper["key"]), run.folder.parent.name


def _named(known: Sequence[Method], name: str) -> Method:
    found = [each for each in known if plain(name) in map(plain, each.names)]
    if not found:
        raise UsageError(unknown("method", name, {each.names[0] for each in known}))
    if len(found) > 1:
        plans = " or ".join(dict.fromkeys(each.plan for each in found))
        raise UsageError(f"{name} is {len(found)} plans here: name a folder with one of them, or its plan, {plans}")
    return found[0]


def _check_alike(one: Method, other: Method, sources: Sequence[ModelSource], threats: Sequence[Threat]) -> None:
    mine, its = threats
    for what, own, theirs in (
        ("data set", sources[0].dataset, sources[1].dataset),
        ("images", *(each.data.sha256[:16] if each.data else "" for each in sources)),
        ("norm", mine.norm, its.norm),
        ("eps", mine.eps, its.eps),
    ):
        if own != theirs:
            raise UsageError(
                f"{one.method} and {other.method} cannot be compared: {what} {own} of the one, {theirs} of the other"
            )


def _known(
    one: Method, other: Method, both: Sequence[Sequence[Evaluator]], threat: Threat, asked: Asked, listen: Listen
) -> Known:
    """Block after block, until that is enough; what earlier calls did counts from the start."""
    label, images = f"{one.method} − {other.method}", len(both[0][0].test.labels)

    def judging(stage: str, done: int, total: int, note: str) -> None:
        listen(Event(label, stage, done, total, note))

    def held(each: Evaluator) -> Blocks:
        return stack.enter_context(in_blocks(each, asked.attack, threat, asked.metric == "clean", judging))

    with ExitStack() as stack:
        opened = [[held(each) for each in own] for own in both]
        found, low, high = _taken(opened, images, asked, partial(_tell, listen, label))
        known = Known(
            methods=(one.method, other.method), plans=(one.plan, other.plan),
            seeds=(len(one.runs), len(other.runs)), metric=asked.metric, attack=asked.attack,
            norm=threat.norm, eps=str(threat.eps), evaluation_seed=asked.seed, block=block_size(images), images=images,
            used=len(found),
            value=float(found.mean()), low=low, high=high, points=asked.points,
            doubts=tuple(tuple(dict.fromkeys(said for each in own for said in each.signs())) for own in opened),
            seconds_saved=sum(each.seconds() for own in opened for each in own) * (images - len(found)) / len(found),
        )  # fmt: skip
    listen(Event(label, "done", 1, 1, ""))
    return known


Tell = Callable[[float, int, str], None]
"""Images done, how many it takes as far as is known, and what is known."""


def _tell(listen: Listen, label: str, done: float, total: int, note: str) -> None:
    listen(Event(label, "images", int(done), total, note))


def _taken(
    opened: Sequence[Sequence[Blocks]], images: int, asked: Asked, tell: Tell
) -> tuple[NDArray[Any], float, float]:
    """The differences, image by image, that were enough, and the bounds that they give."""
    size, done = block_size(images), min(each.done for own in opened for each in own)
    found, low, high = np.zeros(0), -100.0, 100.0
    for number in range(-(-images // size)):
        total = _expected(len(found), images, (high - low) / 2, asked.points)
        note = f"{found.mean():+.2f} ({low:.2f} to {high:.2f})" if number >= done and len(found) else ""

        def told(part: float, before: int = len(found), total: int = total, note: str = note) -> None:
            tell(before + part * size, total, note)

        found = np.append(found, _differences(opened, number, asked.metric, told))
        if number + 1 >= done:
            low, high = interval(found, images)
            if low > 0 or high < 0 or (high - low) / 2 <= asked.points:
                break
    return found, low, high


def _expected(done: int, images: int, half: float, goal: float) -> int:
    """How many images the goal takes, if the half width goes on falling as sqrt((N - n) / n)."""
    if not 0 < done < images:
        return images
    scale = half**2 * done / (images - done)
    return max(done, min(images, math.ceil(images * scale / (goal**2 + scale))))


def _differences(
    opened: Sequence[Sequence[Blocks]], number: int, metric: Metric, told: Callable[[float], None]
) -> NDArray[Any]:
    """(n,) of a block's images, in points: the first method's mean over seeds less the second's."""
    count, index, means = sum(map(len, opened)), itertools.count(), []
    for own in opened:
        masks = [each.masks(number, partial(_share, told, next(index), count)) for each in own]
        clean, robust = np.mean(masks, axis=0)
        means.append({"clean": clean, "robust": robust, "average": (clean + robust) / 2}[metric])
    found: NDArray[Any] = 100 * (means[0] - means[1])
    return found


def _share(told: Callable[[float], None], before: int, count: int, part: float) -> None:
    """Part of a block for one network, as part of it for all."""
    told((before + part) / count)
