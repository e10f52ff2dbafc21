"""The processes that torchrun started to train one run together: who they are, and how they begin and end.

Imports torch only where it is used, as every command asks whether it was started alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from robench_fire.errors import RobenchError, UsageError

if TYPE_CHECKING:
    import torch

    from robench_fire.devices.process_group import ProcessGroup
    from robench_fire.problem.recipe import Recipe

PR_SET_PDEATHSIG = 1  # of Linux's prctl
PATIENCE = timedelta(hours=2)  # for the first process, which brings data and estimates while the others wait

_parted = False  # whether the processes have done what they had to do together


def count() -> int:
    """How many processes torchrun started; 1 where it started none."""
    named = all(name in os.environ for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    return int(os.environ["WORLD_SIZE"]) if named else 1


def first() -> bool:
    """Whether this process is the one that writes and speaks; it is where there is no other."""
    return count() == 1 or os.environ["RANK"] == "0"


def refuse(command: str) -> None:
    """Only ``train`` runs in several processes.

    Raises:
        UsageError: for another command, if torchrun started it.
    """
    if count() > 1 and command != "train":
        sharing = f"to share an evaluation, run `robench eval ... --shard 1/{count()}` and so on"
        raise UsageError(f"torchrun with {count()} processes is for `train`, not for `{command}`; {sharing}")


def refuse_options(**given: object) -> None:
    """Options that share out whole runs do not go with processes that share one.

    Raises:
        UsageError: naming an option of which ``given`` has a value, if torchrun started this.
    """
    for name, value in given.items():
        if count() > 1 and value:
            said = f"--{name}" if value is True else f"--{name} {value}"
            raise UsageError(f"{said}: the {count()} processes of torchrun train one run at a time; leave --{name} out")


def check_batch(recipe: Recipe) -> None:
    """Whether the processes can share the recipe's batches.

    Raises:
        UsageError: if they cannot, naming numbers that can.
    """
    size, rows, ghost = count(), recipe.batch_size, recipe.ghost_batch
    fewer = max(number for number in range(1, size + 1) if rows % number == 0)
    if rows % size:
        more = f"--nproc-per-node {fewer}, or --batch-size {rows + size - rows % size}"
        raise UsageError(f"{size} processes cannot share batches of {rows} equally; use {more}")
    if ghost is not None and ghost * size > rows:
        most = f"use --set recipe.ghost_batch={rows // size}, or fewer processes"
        raise UsageError(f"batches of {rows} have too few slices of {ghost} images for {size} processes; {most}")


def device(asked: str) -> torch.device:
    """This process's device: a GPU of its own, or the CPU. ``asked`` is auto, cpu or cuda.

    Raises:
        UsageError: for a GPU by its number, or if there are fewer GPUs than processes.
    """
    from robench_fire.devices.device import resolve

    chosen = resolve(asked)
    if count() == 1 or chosen.type == "cpu":
        return chosen
    if asked not in ("auto", "cuda"):
        raise UsageError(f"--device {asked}: each of torchrun's processes takes a GPU of its own; use --device cuda")
    import torch

    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", count())), torch.cuda.device_count()
    if here > gpus:
        raise UsageError(f"{here} processes on a machine with {gpus} GPUs; use --nproc-per-node {gpus} or --device cpu")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def local_devices(own: torch.device) -> list[torch.device]:
    """The devices of all processes, ``own`` among them, if all are on this machine; else none."""
    import torch

    if count() == 1 or own.type == "cpu":
        return [own]
    alone = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
    return [torch.device("cuda", number) for number in range(count())] if alone else []


@contextmanager
def entered(own: torch.device) -> Iterator[ProcessGroup]:
    """The group of torchrun's processes, which can talk to each other until the body is left.

    Raises:
        RobenchError: if another process ended without a word.
    """
    import torch.distributed as dist

    from robench_fire.devices.device import use
    from robench_fire.devices.process_group import ProcessGroup

    global _parted
    use(own)
    _end_with_torchrun()
    size, rank = count(), int(os.environ["RANK"])
    backend, bound = ("nccl", own) if own.type == "cuda" else ("gloo", None)
    try:
        dist.init_process_group(backend, timeout=PATIENCE, device_id=bound)
        yield ProcessGroup(rank, size)
        dist.destroy_process_group()
    except RuntimeError as fault:
        if not isinstance(fault, dist.DistError) and "gloo" not in str(fault):
            raise
        gone = "another process of this training ended, or cannot be reached; the same command continues"
        raise RobenchError(f"{gone} ({str(fault).strip().splitlines()[0][:200]})") from None
    _parted = True


def _end_with_torchrun() -> None:
    """Ask Linux for SIGTERM once torchrun is gone, killed perhaps, so that none trains on and holds a lock."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def last_word() -> Iterator[bool]:
    """Whether this process is to say why all end: the first that asks. The others then wait until it has."""
    if count() == 1 or _parted:
        yield first()
        return
    from torch.distributed.rendezvous import rendezvous

    own, store = os.environ["RANK"], None
    speaker = own.encode() if first() else b""  # where the store cannot be reached
    with suppress(Exception):
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        socket.create_connection(place, timeout=10).close()  # refused at once if torchrun is gone; torch tries for long
        store = next(rendezvous("env://", timeout=timedelta(seconds=10)))[0]
        speaker = store.compare_set("robench/speaker", "", own)
    yield speaker == own.encode()
    with suppress(Exception):
        if store is not None and speaker == own.encode():
            store.set("robench/said", own)
        elif store is not None:  # a process that ends makes torchrun end the others
            store.wait(["robench/said"], timedelta(seconds=5))
