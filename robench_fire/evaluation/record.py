"""What an evaluation has found so far, on disk: one JSON file, replaced whole after every (attack, block) unit.

Plain JSON and numpy. Masks are texts of 0 and 1, so that a record can be read and compared by eye.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.errors import DataError, unwritten
from robench_fire.evaluation.own_attacks.uncounted import Uncounted
from robench_fire.files import held, write_json
from robench_fire.runs.folders import read_json

FORMAT = 1
Identity = Mapping[str, str | int]
"""What a record is bound to: weights, images, norm, eps, attack, version, seed, block size, number of images."""


def lock_of(state: Path) -> Path:
    """Where the lock of the record at ``state`` lies."""
    return state.with_name(f".{state.name}.lock")


@contextmanager
def locked(state: Path, otherwise: str) -> Iterator[None]:
    """Hold the record at ``state`` against a second process, which hears that it may wait, or do ``otherwise``.

    Raises:
        UsageError: if another process works on it, or its folder cannot be written.
    """
    lock = lock_of(state)
    busy = f"another process works on {state}; wait for it, or {otherwise}"
    with held(
        lock, busy, f"cannot write in {state.parent}", "; choose another folder, or copy what is evaluated there"
    ):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held; filelock notices a file that is gone


@dataclass
class Block:
    """One block of test images: which are classified correctly, clean (N,) and after each attack in turn."""

    clean: NDArray[Any]
    after: dict[str, NDArray[Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    largest: float = 0.0  # size of the largest perturbation that counted, in the threat's norm
    uncounted: Uncounted = Uncounted()  # of an attack of the user's own

    @property
    def robust(self) -> NDArray[Any]:
        """(N,) what the attacks so far have left."""
        return next(reversed(self.after.values())) if self.after else self.clean


@dataclass
class Record:
    """The blocks of one shard that are begun, by number, and what the checks of the model said."""

    identity: Identity
    shard: tuple[int, int] = (1, 1)
    blocks: dict[int, Block] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    sessions: int = 0
    machines: set[str] = field(default_factory=set)  # that had a part in it, with their torch

    def write(self, path: Path) -> None:
        """Save atomically.

        Raises:
            RobenchError: if the file cannot be written; what was there before stays.
        """
        plain = {
            "format": FORMAT,
            "identity": dict(self.identity),
            "shard": list(self.shard),
            "sessions": self.sessions,
            "machines": sorted(self.machines),
            "flags": sorted(self.flags),
            "blocks": {str(number): _plain(block) for number, block in sorted(self.blocks.items())},
        }
        try:
            write_json(path, plain)
        except OSError as fault:
            raise unwritten(path, fault) from None


def numbers(blocks: int, shard: tuple[int, int]) -> list[int]:
    """The numbers of the blocks that shard i of n works on: every n-th."""
    return list(range(shard[0] - 1, blocks, shard[1]))


def _plain(block: Block) -> dict[str, Any]:
    return {
        "clean": _text(block.clean),
        "after": {name: _text(mask) for name, mask in block.after.items()},
        "seconds": block.seconds,
        "largest": block.largest,
        **({"uncounted": block.uncounted._asdict()} if block.uncounted.attacked else {}),
    }


def _text(mask: NDArray[Any]) -> str:
    return "".join("01"[int(each)] for each in mask)


def _mask(text: str) -> NDArray[Any]:
    if not re.fullmatch("[01]+", text):
        raise ValueError(f"a mask holds {text[:20]!r}")
    return np.array([each == "1" for each in text])


def read(path: Path, identity: Identity, attacks: Sequence[str], shard: tuple[int, int] | None = None) -> Record:
    """The record at ``path``, if it is one of the evaluation ``identity`` by ``attacks``, and of ``shard`` where given.

    Raises:
        DataError: if it cannot be read, or belongs to something else, saying which part differs.
    """
    plain = read_json(path)
    try:
        found = _record(plain)
        if all(found.identity.get(name) == value for name, value in identity.items()):
            _check(found, attacks)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as fault:
        raise DataError(
            f"{path} is not a record of an evaluation ({type(fault).__name__}: {fault}); move it away to start anew"
        ) from None
    check_identity(path, found.identity, identity)
    if shard and found.shard != shard:
        raise DataError(
            f"{path} belongs to shard {found.shard[0]}/{found.shard[1]}, not {shard[0]}/{shard[1]}; "
            "move it away to start anew"
        )
    return found


def check_identity(path: Path, found: Mapping[str, Any], identity: Identity) -> None:
    """Refuse what is of another evaluation than ``identity``.

    Raises:
        DataError: saying which part differs.
    """
    for name, value in identity.items():
        if found.get(name) != value:
            raise DataError(
                f"{path} belongs to another evaluation: its {in_words(name)} is {found.get(name)}, "
                f"not {value}; move it away to start anew"
            )


def _record(plain: Mapping[str, Any]) -> Record:
    if plain["format"] != FORMAT:
        raise ValueError(f"format {plain['format']}")
    index, count = (int(each) for each in plain["shard"])
    if not 1 <= index <= count:
        raise ValueError(f"shard {index}/{count}")
    return Record(
        dict(plain["identity"].items()),
        (index, count),
        {int(number): _block(each) for number, each in plain["blocks"].items()},
        set(plain["flags"]),
        int(plain["sessions"]),
        set(plain["machines"]),
    )


def _check(found: Record, attacks: Sequence[str]) -> None:
    """Whether the blocks are those of the shard, each as long as it must be, attacked in order."""
    examples, size = int(found.identity["examples"]), int(found.identity["batch_size"])
    mine = set(numbers(-(-examples // size), found.shard))
    for number, block in found.blocks.items():
        if number not in mine:
            raise ValueError(f"block {number} is not one of its shard")
        if len(block.clean) != min(size, examples - number * size):
            raise ValueError(f"block {number} holds {len(block.clean)} images")
        done = list(block.after)
        if done != list(attacks[: len(done)]) or list(block.seconds) != done or not math.isfinite(block.largest):
            raise ValueError(f"block {number} was attacked by {', '.join(done)}")


def in_words(name: str) -> str:
    """A key of an identity as it is said."""
    return name.replace("_sha256", " hash").replace("_", " ")


def _block(plain: Mapping[str, Any]) -> Block:
    clean = _mask(plain["clean"])
    after = {str(name): _mask(text) for name, text in plain["after"].items()}
    before = clean
    for name, mask in after.items():
        if len(mask) != len(clean) or (mask & ~before).any():
            raise ValueError(f"the mask after {name} does not follow from the one before it")
        before = mask
    seconds = {str(k): float(v) for k, v in plain["seconds"].items()}
    return Block(clean, after, seconds, float(plain["largest"]), Uncounted(**plain.get("uncounted", {})))


def joined(paths: Sequence[Path], identity: Identity, attacks: Sequence[str], blocks: int) -> Record:
    """One record of all ``blocks`` from the finished shards at ``paths``.

    Raises:
        DataError: if a shard is foreign, unfinished or missing, or two hold the same blocks, naming them.
    """
    if not paths:
        raise DataError("there are no shards to join; make them with --shard 1/n to --shard n/n")
    whole, owner, count = Record(identity), dict[int, Path](), 0
    for path in paths:
        part = read(path, identity, attacks)
        twice = sorted(set(part.blocks) & set(owner))
        if twice:
            raise DataError(f"{path} and {owner[twice[0]].name} overlap in block {twice[0]}; move one away")
        undone = [number for number in numbers(blocks, part.shard) if list(_done(part, number)) != list(attacks)]
        if undone:
            raise DataError(
                f"{path} is not finished ({len(undone)} blocks); run --shard {part.shard[0]}/{part.shard[1]}"
            )
        whole.blocks |= part.blocks
        whole.flags |= part.flags
        whole.sessions += part.sessions
        whole.machines |= part.machines
        owner |= dict.fromkeys(part.blocks, path)
        count = max(count, part.shard[1])
    missing = sorted({number % count + 1 for number in range(blocks) if number not in whole.blocks})
    if missing:
        raise DataError(f"shards {', '.join(f'{each}/{count}' for each in missing)} are missing beside {paths[0]}")
    return whole


def _done(record: Record, number: int) -> Mapping[str, NDArray[Any]]:
    return record.blocks[number].after if number in record.blocks else {}
