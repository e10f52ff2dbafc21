"""No step waits for the device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from devices import here
from precisions import problem
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from robench_fire.devices.clock import Clock
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem import registry
from robench_fire.problem.dataset import Splits
from robench_fire.problem.recipe import Augment
from robench_fire.training.engine import prepared
from robench_fire.training.epoch import train_epoch
from robench_fire.training.setup import Setup, Streams
from robench_fire.training.state import State
from robench_fire.training.step import step

pytestmark = pytest.mark.usefixtures("device")

WAITS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim", "_unique2"}


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a device: reading a value, or a result whose size depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        name = function.overloadpacket.__name__
        masks = [each for each in given[1] if each is not None and each.dtype == torch.bool] if name == "index" else []
        if name in WAITS or masks:
            self.found[name] += 1
        return function(*given, **(named or {}))


def waits(small: Splits, name: str, batch_size: int, **changes: Any) -> Counter[str]:
    given = problem(small, name, batch_size=batch_size, **changes)
    state, setup = prepared(DigitsCNN, given, [0], here())
    with Waits() as found:
        train_epoch(state, setup, 2, set(), lambda done, rate: None)  # the second of two: targets have begun to move
    if here().type == "cuda" and name != "nu_at":  # whose singular values are read back by torch itself
        unheard(state, setup, batch_size)
    return found.found


def unheard(state: State, setup: Setup, size: int) -> None:
    """One more step, in which CUDA itself makes an error of a wait."""
    index, streams = torch.arange(size, device=here()), Streams(*(torch.Generator(here()) for _ in Streams._fields))
    state.model.train()
    try:
        torch.cuda.set_sync_debug_mode("error")
        step(state, setup, [index], 1.0, [streams], Clock(here()))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, {"precision": "fp16"}, {"ema_decay": 0.9}], ids=str)
@pytest.mark.parametrize("name", registry.names("defenses"))
@pytest.mark.usefixtures("any_format")
def test_no_step_waits_for_the_device(small: Splits, name: str, changes: dict[str, Any]) -> None:
    """An epoch of two steps reads no more values than an epoch of one: those of its end."""
    augment = Augment(pad=2, flip=True, rotate=10.0, jitter=0.2)
    few, many = (waits(small, name, size, augment=augment, **changes) for size in (256, 128))
    assert many == few
    assert sum(few.values()) < 20


def test_waiting_is_noticed(small: Splits) -> None:
    class Reads(DigitsCNN):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return logits if float(logits.detach().sum()) > -1e9 else logits * 0

    given = problem(small, "madry", batch_size=256)
    state, setup = prepared(Reads, given, [0], here())
    with Waits() as found:
        train_epoch(state, setup, 2, set(), lambda done, rate: None)
    assert found.found["_local_scalar_dense"] >= 3  # two attack steps and one pass
