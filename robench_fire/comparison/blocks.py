"""One evaluation in shuffled order, as far as somebody wants it: block by block, continued from its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.evaluation.autoattack.attack_sets import Attack
from robench_fire.evaluation.autoattack.units import here
from robench_fire.evaluation.evaluate import fill, result
from robench_fire.evaluation.evaluator import Evaluator
from robench_fire.evaluation.record import Record
from robench_fire.evaluation.reliability_text import signs
from robench_fire.evaluation.resumable import begun, judge_stored, opened, saving
from robench_fire.evaluation.stored import facts_of, finish, is_current, masks_of
from robench_fire.problem.threat import Threat
from robench_fire.progress import Report
from robench_fire.runs.folders import BATCH_SIZE

Part = Callable[[float], None]
"""Told which part of a block is done."""


@dataclass(frozen=True)
class Blocks:
    """``masks``: attack a block, unless that is done: (2, n) clean and robust, the latter as clean without attacks.

    ``done``: how many blocks were complete when it was opened. ``seconds``: of attacks so far.
    ``signs``: why AutoAttack's own checks doubt the result so far.
    """

    masks: Callable[[int, Part], NDArray[np.bool_]]
    seconds: Callable[[], float]
    signs: Callable[[], Sequence[str]]
    done: int


@contextmanager
def in_blocks(evaluator: Evaluator, attack: str, threat: Threat, clean_only: bool, report: Report) -> Iterator[Blocks]:
    """An evaluation that is held against a second process; what is complete when the body ends is finished and judged.

    An evaluation of all images in their own order, as `robench eval` makes it by default, serves as well.

    Raises:
        UsageError: if another process works on it.
        DataError: if its record cannot be read or is another evaluation's.
    """
    if (finished := _finished(evaluator, attack, threat, report)) is not None:
        yield _of_masks(*finished, evaluator.evaluations.batch_size)
        return
    state = evaluator.path(evaluator.name(attack, threat), ".state")
    attacks = () if clean_only else evaluator.attacks(attack)
    with opened(evaluator, attack, threat, state) as record:
        yield _of_record(evaluator, record, threat, attacks)
        if all(_done(record, number, evaluator.attacks(attack)) for number in range(evaluator.attacked[0].blocks)):
            finish(evaluator, threat, record)
            state.unlink(missing_ok=True)
            judge_stored(evaluator, attack, threat, report)


def _finished(
    evaluator: Evaluator, attack: str, threat: Threat, report: Report
) -> tuple[NDArray[np.bool_], dict[str, Any]] | None:
    """(2, N), in shuffled order, of a finished evaluation, and its facts."""
    if is_current(evaluator, attack, threat):
        evaluator.path(evaluator.name(attack, threat), ".state").unlink(missing_ok=True)  # if ended in the last moment
        judge_stored(evaluator, attack, threat, report)
        return masks_of(evaluator, attack, threat), facts_of(evaluator, attack, threat)
    usual = replace(evaluator.evaluations, shuffled=False, batch_size=BATCH_SIZE)
    own = Evaluator(evaluator.source, evaluator.test, usual, evaluator.device)
    if is_current(own, attack, threat):
        return masks_of(own, attack, threat)[:, evaluator.order], facts_of(own, attack, threat)
    return None


def _of_masks(masks: NDArray[np.bool_], facts: Mapping[str, Any], size: int) -> Blocks:
    def block(number: int, told: Part) -> NDArray[np.bool_]:
        return masks[:, number * size : (number + 1) * size]

    return Blocks(block, lambda: 0.0, lambda: signs(facts), -(-masks.shape[1] // size))


def _done(record: Record, number: int, attacks: tuple[Attack, ...]) -> bool:
    return number in record.blocks and all(each.name in record.blocks[number].after for each in attacks)


def _of_record(evaluator: Evaluator, record: Record, threat: Threat, attacks: tuple[Attack, ...]) -> Blocks:
    state = evaluator.path(evaluator.name(str(record.identity["attack"]), threat), ".state")
    attacked, save = begun(evaluator, record, threat), saving(evaluator, record, state, threat)

    def block(number: int, told: Part) -> NDArray[np.bool_]:
        def report(name: str, done: int, total: int, note: str) -> None:
            before = [each.name for each in attacks].index(name)
            told((before + (done / total if total else 1.0)) / len(attacks))

        if not _done(record, number, attacks):
            fill(record, attacked, attacks, here(attacked), save, report, only=(number,))
            record.write(state)
        found = record.blocks[number]
        return np.stack([found.clean, found.robust])

    def seconds() -> float:
        return sum(sum(each.seconds.values()) for each in record.blocks.values())

    def doubts() -> list[str]:
        whole = {number: each for number, each in record.blocks.items() if _done(record, number, attacks)}
        found = result(replace(record, blocks=whole)) if attacks and whole else None
        return signs({"flags": found.flags, "after": found.after, "examples": len(found.clean)}) if found else []

    done = next(number for number in range(attacked.blocks + 1) if not _done(record, number, attacks))
    return Blocks(block, seconds, doubts, done)
