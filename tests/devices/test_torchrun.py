"""Processes that torchrun starts: what each needs, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import process_group_checks as checks
import pytest
import torch
from command_line import robench

from robench_fire.devices import torchrun
from robench_fire.devices.process_group import ProcessGroup
from robench_fire.errors import RobenchError, UsageError
from robench_fire.training.out_of_memory import within_memory

CPU = torch.device("cpu")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """As if torchrun had started so many processes, this one being the first."""

    def start(size: int, **more: str) -> None:
        names = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(size), "MASTER_ADDR": "", "MASTER_PORT": "no"}
        for name, value in (names | more).items():
            monkeypatch.setenv(name, value)

    return start


def test_batches_that_cannot_be_shared(started: Callable[..., None]) -> None:
    recipe = replace(checks.RECIPE, batch_size=128)
    torchrun.check_batch(recipe)
    started(3)
    with pytest.raises(UsageError, match="3 processes cannot share batches of 128 equally; use --nproc-per-node 2, or"):
        torchrun.check_batch(recipe)
    started(4)
    torchrun.check_batch(replace(recipe, ghost_batch=32))
    with pytest.raises(UsageError, match=r"too few slices of 64 .*; use --set recipe\.ghost_batch=32"):
        torchrun.check_batch(replace(recipe, ghost_batch=64))


def test_each_process_has_a_gpu(monkeypatch: pytest.MonkeyPatch, started: Callable[..., None]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    started(2, LOCAL_RANK="1", LOCAL_WORLD_SIZE="2")
    assert torchrun.device("auto") == torchrun.device("cuda") == torch.device("cuda", 1)
    assert torchrun.device("cpu") == CPU
    assert torchrun.local_devices(torch.device("cuda", 1)) == [torch.device("cuda", 0), torch.device("cuda", 1)]
    with pytest.raises(UsageError, match="--device cuda:1: each of torchrun's processes"):
        torchrun.device("cuda:1")
    started(4, LOCAL_WORLD_SIZE="2")
    assert torchrun.local_devices(torch.device("cuda", 1)) == []
    started(4, LOCAL_WORLD_SIZE="4")
    with pytest.raises(UsageError, match="4 processes on a machine with 2 GPUs; use --nproc-per-node 2"):
        torchrun.device("auto")


def test_memory_that_is_short_in_one_process() -> None:
    """Nothing is tried, as the others wait in the middle of a step."""
    setup: Any = SimpleNamespace(problem=SimpleNamespace(recipe=checks.RECIPE), group=ProcessGroup(1, 2), device=CPU)
    state: Any = None
    said = "out of memory with batches of 64, 32 on each cpu; use more processes or a smaller --batch-size"
    with pytest.raises(RobenchError, match=said), within_memory(state, setup):
        raise torch.OutOfMemoryError("out of memory")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bench digits", "torchrun with 2 processes is for `train`, not for `bench`; to share an evaluation"),
        ("eval x.pt --dataset digits", "--shard 1/2"),
        ("train fire digits --together", "--together: the 2 processes"),
        ("train fire digits --launcher ray", "--launcher ray: the 2 processes"),
        ("train fire digits --jobs 2", "--jobs 2: the 2 processes of torchrun train one run at a time"),
    ],
)
def test_what_does_not_run_in_several_processes(
    started: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    words: str,
    said: str,
) -> None:
    started(2)
    assert robench(*words.split()) == 2
    assert said in capsys.readouterr().err
    started(2, RANK="1")
    assert robench(*words.split()) == 2
    assert capsys.readouterr() == ("", "")
