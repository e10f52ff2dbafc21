"""The same bits each time: what is set for that, what is put back, and that it is enough."""

from __future__ import annotations

import os

import pytest
import torch
from trainings import problem, trained

from robench_fire.devices.determinism import CUBLAS, deterministic, threads, wanted
from robench_fire.errors import RecipeError
from robench_fire.problem.dataset import Splits

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def state() -> tuple[bool, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic,
        torch.utils.deterministic.fill_uninitialized_memory, torch.get_num_threads() == 1,
    )  # fmt: skip


def test_a_training_comes_to_the_same_bits(small: Splits, device: torch.device) -> None:
    """With self-adaptive labels, whose memory is written to by index; however many threads the caller has."""
    found = []
    try:
        for callers in (1, 2):
            torch.set_num_threads(callers)
            with deterministic(True, device, 1):
                found.append(trained(problem(small, "fire_sa")).weights)
            assert torch.get_num_threads() == callers
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_it_is_usual_on_a_cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CUBLAS, raising=False)
    assert [wanted(None, each) for each in (CPU, GPU)] == [True, False]
    assert [wanted(False, each) for each in (CPU, GPU)] == [False, False]
    assert CUBLAS not in os.environ
    assert wanted(True, GPU)
    assert os.environ[CUBLAS] == ":4096:8"
    monkeypatch.delenv(CUBLAS)


@pytest.mark.parametrize(("said", "count"), [(None, 1), ("", 1), ("4", 4), ("4,2", 4), ("0", 1), ("many", 1)])
def test_threads_are_those_that_the_user_says(said: str | None, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS") if said is None else monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads() == count


def test_everything_is_put_back() -> None:
    before = state()
    with deterministic(True, CPU, 3):
        assert state() == (True, True, False, False)
    assert state() == before
    with deterministic(False, CPU, 3):
        assert state() == before


def test_an_operator_that_cannot_is_named() -> None:
    before, values = state(), torch.zeros(4)
    said = "^put_ does not come to the same bits each time here; use --no-deterministic"
    with pytest.raises(RecipeError, match=said), deterministic(True, CPU, 1):
        values.put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]), accumulate=False)
    assert state() == before
    with pytest.raises(RuntimeError, match="shape"), deterministic(True, CPU, 1):
        values.reshape(3)
