"""One attack on several blocks, here or in several processes: the outcomes are the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from numpy.typing import NDArray

from robench_fire.devices.workers import CONTEXT, DIED, ended, pool
from robench_fire.errors import RobenchError
from robench_fire.evaluation.autoattack.attack_sets import Attack
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel, Outcome


class Ended(NamedTuple):
    """A block's number, what an attack on it came to, and how long it took."""

    number: int
    outcome: Outcome
    seconds: float


Shown = Callable[[float], None]
"""How many blocks are done, those under way counting in part."""
Crew = Callable[[Attack, Mapping[int, NDArray[Any]], Shown], Iterator[Ended]]
"""Attacks the images of each block that its mask marks."""
Make = Callable[[], AttackedModel]
"""Loads the attacked model anew in a worker; picklable."""


def here(attacked: AttackedModel) -> Crew:
    """Block after block in this process."""

    def attack_all(attack: Attack, standing: Mapping[int, NDArray[Any]], shown: Shown) -> Iterator[Ended]:
        for done, (number, mask) in enumerate(standing.items()):
            yield _timed(attacked, attack, number, mask, partial(_also, shown, done))

    return attack_all


def _also(shown: Shown, done: int, share: float) -> None:
    shown(done + share)


@contextmanager
def elsewhere(make: Make, jobs: int, blocks: int) -> Iterator[Crew]:
    """Blocks shared among ``jobs`` processes, each with an attacked model of its own.

    Raises:
        RobenchError: if a process dies.
    """
    shares: Any = CONTEXT.Array("d", blocks, lock=False)
    with pool(jobs, _begin, make, shares) as submit:

        def attack_all(attack: Attack, standing: Mapping[int, NDArray[Any]], shown: Shown) -> Iterator[Ended]:
            for number in standing:
                shares[number] = 0.0
            try:
                under_way: set[Future[Ended]] = {submit(_work, attack, *each) for each in standing.items()}
                for future in ended(under_way, lambda: shown(sum(shares[number] for number in standing))):
                    yield future.result()
            except BrokenProcessPool:
                raise RobenchError(DIED) from None

        yield attack_all


_attacked: AttackedModel
_shares: Any


def _begin(make: Make, shares: Any) -> None:
    global _attacked, _shares
    _attacked, _shares = make(), shares


def _work(attack: Attack, number: int, standing: NDArray[Any]) -> Ended:
    def tick(share: float) -> None:
        _shares[number] = share

    return _timed(_attacked, attack, number, standing, tick)


def _timed(
    attacked: AttackedModel, attack: Attack, number: int, standing: NDArray[Any], tick: Callable[[float], None]
) -> Ended:
    started = time.perf_counter()
    outcome = attacked.stand(attack, number, standing, tick)
    tick(1.0)
    return Ended(number, outcome, time.perf_counter() - started)
