"""An evaluation from clean accuracy to the last attack: one boolean per test image, and nothing done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire import stopping
from robench_fire.evaluation.autoattack import attack_sets
from robench_fire.evaluation.autoattack.attack_sets import Attack
from robench_fire.evaluation.autoattack.attacked_model import PLAIN, AttackedModel
from robench_fire.evaluation.autoattack.units import Crew, Ended
from robench_fire.evaluation.own_attacks.uncounted import Uncounted, together
from robench_fire.evaluation.record import Block, Record, numbers
from robench_fire.evaluation.reliability_text import SQUARE, ZERO_GRADIENTS
from robench_fire.progress import Report
from robench_fire.statistics.summary import noticeable, percent, wilson

SETS: dict[str, tuple[Attack, ...]] = {**{name: (Attack(name),) for name in PLAIN}, **attack_sets.SETS}
"""Evaluations by name: which attacks each runs, in order."""
KNOWN = {attack.name for attacks in SETS.values() for attack in attacks}
"""Attacks that are none of a user's own."""


def attacks_of(name: str, num_classes: int) -> tuple[Attack, ...]:
    """The attacks of the evaluation ``name`` of SETS on so many classes."""
    return attack_sets.for_classes(SETS[name], num_classes)


Save = Callable[[str, Ended], None]
"""Called after each (attack, block) with the attack's name, once the record holds what it came to."""


@dataclass(frozen=True)
class Result:
    """``clean`` and ``robust`` (N,) booleans: correct on the image, and still correct under the attacks.

    ``after``: accuracy in percent after each attack. ``seconds``: of each attack, summed over blocks and interruptions.
    ``largest``: size of the largest perturbation that counted. ``flags``: AutoAttack's signs of an unreliable result.
    ``uncounted``: what attacks of the user's own returned that does not count.
    """

    clean: NDArray[Any]
    robust: NDArray[Any]
    after: dict[str, float]
    seconds: dict[str, float]
    largest: float
    flags: list[str]
    uncounted: Uncounted = Uncounted()


def fill(
    record: Record, attacked: AttackedModel, attacks: Sequence[Attack], crew: Crew, save: Save, report: Report,
    only: Sequence[int] = (),
) -> None:  # fmt: skip
    """Run whatever units of the record's shard are missing, attack by attack over all its blocks; save after each.

    ``only``: of these blocks.

    Raises:
        Stopped: after a signal, between two calls of the model.
    """
    mine = only or numbers(attacked.blocks, record.shard)
    with stopping.deferred():
        _fill(record, attacked, mine, attacks, crew, save, report)


def _fill(
    record: Record,
    attacked: AttackedModel,
    mine: Sequence[int],
    attacks: Sequence[Attack],
    crew: Crew,
    save: Save,
    report: Report,
) -> None:
    for number in mine:
        if number not in record.blocks:
            record.blocks[number] = Block(attacked.clean(number))
    for attack in attacks:
        todo = {k: record.blocks[k].robust for k in mine if attack.name not in record.blocks[k].after}
        shown = _seldom(partial(_show, record, attack.name, todo, report))
        shown(0.0)
        for ended in crew(attack, todo, shown):
            block = record.blocks[ended.number]
            block.after[attack.name] = ended.outcome.robust
            block.seconds[attack.name] = ended.seconds
            block.largest = max(block.largest, ended.outcome.largest)
            block.uncounted = together([block.uncounted, ended.outcome.uncounted])
            record.flags |= {ZERO_GRADIENTS} if ended.outcome.zero_gradients else set()
            save(attack.name, ended)
        _show(record, attack.name, todo, report, float(len(todo)))


def _seldom(show: Callable[[float], None]) -> Callable[[float], None]:
    """``show``, at most five times a second: attacks tell of every query."""
    last = -1.0

    def shown(done: float) -> None:
        nonlocal last
        if (now := time.monotonic()) - last > 0.2:
            last = now
            show(done)

    return shown


def _show(record: Record, name: str, todo: Mapping[int, NDArray[Any]], report: Report, done: float) -> None:
    """How far ``name`` is, in images that it attacks, and what is left of all images so far."""
    attacked = sum(int(mask.sum()) for mask in todo.values())
    left = sum(int(block.robust.sum()) for block in record.blocks.values())
    images = sum(len(block.clean) for block in record.blocks.values())
    low, high = wilson(left, images)
    share = done / len(todo) if todo else 1.0
    note = f"{left}/{images} robust, {100 * left / images:.2f} % [{low:.1f}, {high:.1f}]"
    report(name, round(attacked * share), attacked, note)


def result(record: Record) -> Result:
    """What a record whose every unit is done says."""
    blocks = [block for _, block in sorted(record.blocks.items())]
    names = list(blocks[0].after)
    masks = {name: np.concatenate([block.after[name] for block in blocks]) for name in names}
    clean = np.concatenate([block.clean for block in blocks])
    robust = masks[names[-1]]
    flags = set(record.flags)
    known = [name for name in names if name in KNOWN]
    last = known[1:] and known[-1] == "square"
    only_square = int((masks[names[names.index("square") - 1]] & ~masks["square"]).sum()) if last else 0
    if noticeable(only_square, len(clean)):
        flags.add(SQUARE)
    return Result(
        clean=clean,
        robust=robust,
        after={name: percent(mask) for name, mask in masks.items()},
        seconds={name: sum(block.seconds[name] for block in blocks) for name in names},
        largest=max(block.largest for block in blocks),
        flags=sorted(flags),
        uncounted=together(block.uncounted for block in blocks),
    )
