"""The processes that train one model together: each has a part of every batch (torch.distributed)."""

from __future__ import annotations

import inspect
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from robench_fire import stopping
from robench_fire.errors import RobenchError

Value = TypeVar("Value")


@dataclass(frozen=True)
class ProcessGroup:
    """``size`` processes, of which this is number ``rank``; every method does nothing in a group of one.

    ``slice_size`` rows of a batch are never parted, so that ghost batch norm sees the slices that one process would
    see. A batch of fewer slices than processes is not parted: all compute the whole of it, and each row counts as a
    ``size``-th of a row in each. An empty part would need every model, and torch's SyncBatchNorm, to take no images.
    """

    rank: int = 0
    size: int = 1
    slice_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def lengths(self, rows: int) -> list[int]:
        """How many of a batch's ``rows`` each process has."""
        slices = -(-rows // self.slice_size)
        if slices < self.size:
            return [rows] * self.size
        ends = [min(rows, slices * number // self.size * self.slice_size) for number in range(self.size + 1)]
        return [end - begin for begin, end in pairwise(ends)]

    def copies(self, rows: int) -> int:
        """How many processes compute each row of a batch."""
        return sum(self.lengths(rows)) // rows

    def part(self, batch: Tensor) -> Tensor:
        """This process's rows of a batch; the parts differ by at most one slice."""
        if self.copies(len(batch)) == self.size:
            return batch
        own: Tensor = batch.split(self.lengths(len(batch)))[self.rank]
        return own

    def gathered(self, part: Tensor, rows: int) -> Tensor:
        """The batch of ``rows`` whose ``part`` each process holds."""
        if self.size == 1:
            return part
        if self.copies(rows) == self.size:  # the first process's, as all should have the same
            whole = part.clone(memory_format=torch.contiguous_format)
            dist.broadcast(whole, 0)
            return whole
        lengths = self.lengths(rows)
        padded = part.new_zeros(max(lengths), *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([each[:length] for each, length in zip(parts, lengths, strict=True)])

    def total(self, value: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def collected(self, value: Value) -> list[Value]:
        """The value of each process, in all."""
        found: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(found, value)
        return found

    def summed(self, value: Tensor) -> Tensor:
        """The sum over processes, through which the gradient of all processes' losses flows back."""
        found: Tensor = _Sum.apply(value) if self.size > 1 else value
        return found

    def averaging(self, module: nn.Module) -> nn.Module:
        """``module``, a backward pass through which averages the gradients of the processes' losses.

        Buffers are not sent around: batch norms that agree keep them equal (robench_fire.models.batch_norm).
        """
        if self.size == 1:
            return module
        # of 1 x 1 convolutions with channels last, whose strides have two spellings; it costs a copy
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        newer = "forward_sync_buffers" in known  # recent torch warns about the older name
        chosen: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
        return DistributedDataParallel(module, **chosen)

    def least(self, value: Tensor) -> Tensor:
        """The smallest over processes, in place."""
        if self.size > 1:
            dist.all_reduce(value, dist.ReduceOp.MIN)
        return value

    def agreed(self, action: Callable[[], Value]) -> Value:
        """What ``action`` returns in the first process, where alone it is called; everywhere.

        Raises:
            RobenchError: everywhere, if ``action`` raises it.
        """
        if self.size == 1:
            return action()
        box: list[Any] = [None, None]
        if self.first:
            try:
                box[0] = action()
            except RobenchError as fault:
                box[1] = fault
        with nullcontext() if self.first else stopping.fatal():
            dist.broadcast_object_list(box, 0)
        if box[1] is not None:
            raise box[1]
        found: Value = box[0]
        return found


SAVING = 1000  # above every signal's number


class Agreement:
    """Whether a signal came to any process of a group, asked before each step of an epoch by all, who stop as one.

    In the same way the first process lets all know that the state is to be saved before a step.

    Processes wait for nobody's step but the first: of later ones each hears LAG steps afterwards, so that a GPU always
    has work in its queue.
    """

    LAG = 2

    def __init__(self, group: ProcessGroup, device: torch.device) -> None:
        self._group, self._device, self._steps = group, device, 0
        self._wished = False  # to save, and not heard by all yet
        self._sent: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()

    def check(self, saving: bool = False) -> bool:
        """To be called before a step; whether the state is to be saved before it, as the first process wished.

        Raises:
            Stopped: before the same step in all processes.
        """
        if self._group.size == 1:
            stopping.check()
            return saving
        wish = saving and self._group.first and not self._wished
        self._wished = self._wished or wish
        signum = stopping.asked()
        heard = torch.full((1,), 2 * SAVING + signum if signum else SAVING * wish, device=self._device)
        dist.all_reduce(heard, dist.ReduceOp.MAX)
        event = torch.cuda.Event() if self._device.type == "cuda" else None
        self._sent.append((heard.to("cpu", non_blocking=True), event))
        if event is not None:
            event.record()
        self._steps += 1
        if self._steps > 1 and len(self._sent) <= self.LAG:
            return False
        found, event = self._sent.popleft()
        if event is not None:
            event.synchronize()
        said = int(found)
        if said > SAVING:
            raise stopping.Stopped(said - 2 * SAVING)
        if said == SAVING:
            self._wished = False
        return said == SAVING


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        summed = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0])


ALONE = ProcessGroup()
