"""What a step does when the compiler or the memory fails it, and ghost batches as a recipe's value."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from devices import here
from torch import Tensor

from robench_fire.devices.compilation import Compiled
from robench_fire.errors import RecipeError, RobenchError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem import registry
from robench_fire.problem.dataset import Splits
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Augment, Recipe, Sgd
from robench_fire.problem.threat import Linf
from robench_fire.quantity import Quantity
from robench_fire.training.engine import train, train_together
from robench_fire.training.setup import Problem

CPU = torch.device("cpu")
RECIPE = Recipe(
    arch="digits-cnn",
    attack=Pgd(steps=2, step=Quantity("0.1")),
    epochs=2,
    batch_size=64,
    optimiser=Sgd(lr=0.05),
    augment=Augment(pad=1, flip=True),
)


def problem(small: Splits, name: str = "fire", **changes: Any) -> Problem:
    defense = registry.load("defenses", name).module.DEFENSE
    recipe = replace(RECIPE, **changes)
    return Problem(defense, Linf(eps=Quantity("0.2")), recipe, small.train, small.validation, 10)


def broken(function: Any, **how: Any) -> Any:
    """A compiler that fails at the first call, as torch's does."""

    def call(*values: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand forty lines more")

    return call


def test_without_a_compiler_training_goes_on_and_says_so_once(small: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train(DigitsCNN, problem(small), seed=0, device=CPU)
    monkeypatch.setattr(torch, "compile", broken)
    said: list[str] = []
    found = train(DigitsCNN, problem(small), seed=0, device=CPU, compiling=True, say=said.append)
    assert all(torch.equal(found.weights[name], expected.weights[name]) for name in expected.weights)
    assert said == [
        "not compiled (RuntimeError: InvalidCxxCompiler: No working C++ compiler found); training goes on without"
    ]
    assert found.arithmetic["compiled"] == "False"


def test_a_fault_of_the_function_itself_is_not_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", broken)
    said: list[str] = []

    def refuses(x: Tensor) -> Tensor:
        raise RecipeError("wrong shape")

    with pytest.raises(RecipeError, match="wrong shape"):
        Compiled(refuses, said.append)(torch.ones(1))
    assert said == []


def test_a_compiled_function_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def compiler(function: Any, **how: Any) -> Any:
        asked.append(how)
        return lambda x: function(x) + 1

    monkeypatch.setattr(torch, "compile", compiler)
    double = Compiled(lambda x: 2 * x, pytest.fail)
    assert [double(torch.tensor(value)).item() for value in (1, 2)] == [3, 5]
    assert asked == [{"dynamic": False}]


def test_a_shape_that_does_not_compile_ends_compilation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler(function: Any, **how: Any) -> Any:
        def call(x: Tensor) -> Any:
            if len(x) == 2:
                raise RuntimeError("no kernel for this shape")
            return function(x) + 1

        return call

    monkeypatch.setattr(torch, "compile", compiler)
    said: list[str] = []
    double = Compiled(lambda x: 2 * x, said.append)
    assert [double(torch.ones(size)).sum().item() for size in (1, 2, 1)] == [3, 4, 2]
    assert said == ["not compiled (RuntimeError: no kernel for this shape); training goes on without"]
    assert not double.working


class Hungry(DigitsCNN):
    """Runs out of memory on more than 20 images."""

    error: type[RuntimeError] = torch.OutOfMemoryError
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB"
    most = 20

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most and self.training:
            raise self.error(self.text)
        return super().forward(x)


class HungryOnCpu(Hungry):
    error = RuntimeError
    text = (
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
    )


class Insatiable(Hungry):
    most = 0


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    ("model", "advice"),
    [
        (Hungry, "--batch-size 16 would fit"),
        (HungryOnCpu, "--batch-size 16 would fit"),
        (Insatiable, "not even one image fits; use a smaller --arch"),
    ],
)
@pytest.mark.parametrize("name", ["fire", "madry"])
def test_out_of_memory_names_a_batch_that_fits(small: Splits, model: type[Hungry], advice: str, name: str) -> None:
    with pytest.raises(RobenchError) as raised:
        train(model, problem(small, name), seed=0, device=here())
    assert (
        str(raised.value) == f"out of memory with batches of 64 on {here().type}; {advice} (finished epochs are kept)"
    )
    assert raised.value.exit_code == 1


def test_out_of_memory_with_several_seeds(small: Splits) -> None:
    class Wants(Hungry):
        most = 3 * 20

        def forward(self, x: Tensor) -> Tensor:
            rows = x.shape[0] * (3 if torch._C._functorch.is_batchedtensor(x) else 1)
            if rows > self.most and self.training:
                raise self.error(self.text)
            return DigitsCNN.forward(self, x)

    with pytest.raises(RobenchError, match="--batch-size 16 would fit"):
        train_together(Wants, problem(small), seeds=(0, 1, 2), device=CPU, state_files=[None] * 3)


@pytest.mark.usefixtures("device")
def test_what_a_failed_step_held_is_free_when_a_smaller_one_is_tried(small: Splits) -> None:
    alive: list[bool] = []
    held: list[weakref.ref[Tensor]] = []

    class Greedy(DigitsCNN):
        def forward(self, x: Tensor) -> Tensor:
            if self.training and len(x) > 20:
                wanted = torch.empty(len(x))
                held.append(weakref.ref(wanted))
                raise torch.OutOfMemoryError("CUDA out of memory.")
            if held and self.training:
                alive.append(held[0]() is not None)
            return super().forward(x)

    with pytest.raises(RobenchError, match="would fit"):
        train(Greedy, problem(small), seed=0, device=here())
    assert alive
    assert not any(alive)


def test_the_state_survives_running_out_of_memory(small: Splits, tmp_path: Path) -> None:
    expected = train(DigitsCNN, problem(small), seed=0, device=CPU)
    file, most = tmp_path / "state.pt", Hungry.most

    def starve(curve: list[dict[str, float]]) -> None:
        Hungry.most = 20

    Hungry.most = 10_000
    try:
        with pytest.raises(RobenchError, match="out of memory"):
            train(Hungry, problem(small), seed=0, device=CPU, state_file=file, epoch_done=starve)
    finally:
        Hungry.most = most
    resumed = train(DigitsCNN, problem(small), seed=0, device=CPU, state_file=file)
    assert all(torch.equal(resumed.weights[name], expected.weights[name]) for name in expected.weights)


def test_other_faults_are_not_taken_for_a_lack_of_memory(small: Splits) -> None:
    class Faulty(Hungry):
        error = RuntimeError
        text = "shapes do not match"

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(Faulty, problem(small), seed=0, device=CPU)


@pytest.mark.usefixtures("device")
def test_ghost_batches_change_training_and_are_saved_like_others(small: Splits) -> None:
    whole = train(DigitsCNN, problem(small, precision="fp32"), seed=0, device=here())
    ghost = train(DigitsCNN, problem(small, precision="fp32", ghost_batch=16), seed=0, device=here())
    assert list(whole.weights) == list(ghost.weights)
    assert not torch.equal(whole.weights["features.1.running_mean"], ghost.weights["features.1.running_mean"])
    DigitsCNN().load_state_dict(ghost.weights)
    one_slice = train(DigitsCNN, problem(small, precision="fp32", ghost_batch=64), seed=0, device=here())
    assert [row["loss"] for row in one_slice.curve] == pytest.approx([row["loss"] for row in whole.curve], rel=1e-3)
