"""A step as a GPU would see it, told from a CPU: where tensors lie, what is copied, and what changes between steps.

torch's fake tensors say that they are on a GPU and hold nothing. An operator that mixes devices fails on them, and so
does whatever needs a value: no wait for the device can hide. Backward passes are torch's own and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import needs
import pytest
import torch
from precisions import CPU, GPU, problem
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from robench_fire.devices.clock import Clock
from robench_fire.models import stacked
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem import registry
from robench_fire.problem.dataset import Splits
from robench_fire.problem.recipe import Augment
from robench_fire.training import perturbations
from robench_fire.training.engine import prepared
from robench_fire.training.epoch import train_epoch
from robench_fire.training.setup import Problem, Streams
from robench_fire.training.step import step

ALL_VIEWS = Augment(pad=2, flip=True, rotate=10.0, jitter=0.2)


class OnGpu(DigitsCNN):
    """Begun there: fake parameters cannot be moved."""

    def to(self, *where: Any, **how: Any) -> Any:
        return self


def build(model: type[DigitsCNN] = OnGpu) -> DigitsCNN:
    with torch.device(GPU):
        return model()


class Copies(TorchDispatchMode):
    """Notes operators whose tensors lie on two devices: copies from the host's memory, which the host waits for.

    Numbers apart from a copy: they are handed to a kernel as arguments.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        result = function(*given, **(named or {}))
        name, tensors = (
            str(function),
            [each for each in tree_leaves((given, named, result)) if isinstance(each, Tensor)],
        )
        if len({each.device.type for each in tensors if each.dim() or "copy" in name}) > 1:
            self.found.append(name)
        return result


@contextmanager
def without_backward(state: Any) -> Iterator[None]:
    """Gradients of zeros, and weights that stay."""

    def grad(of: Any, at: Any, **how: Any) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(each) for each in ([at] if isinstance(at, Tensor) else at))

    def backward(loss: Tensor) -> None:
        for weight in state.model.parameters():
            weight.grad = torch.zeros_like(weight)

    def kept(state: Any, setup: Any, perturbation: Tensor, gradient: None, write: Any = perturbations.write) -> None:
        write(state, setup, perturbation, torch.zeros_like(perturbation))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perturbations, "write", kept)
        patch.setattr(torch.autograd, "grad", grad)
        patch.setattr(Tensor, "backward", backward)
        patch.setattr(state.optimiser, "step", lambda: None)
        yield


def stepped(given: Problem, seeds: tuple[int, ...] = (0,), made: Callable[[], Any] = build) -> list[str]:
    """The operators on two devices of a whole batch and of a last one, late in a training."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        state, setup = prepared(made, given, seeds, GPU, streaming=False)  # no memory to ask about
        state.model.train()
        streams = [Streams(torch.Generator(), torch.Generator()) for _ in seeds]  # a GPU's cannot be made here
        with Copies() as copies, without_backward(state):
            for size in (64, 41):
                index = [torch.arange(size, device=GPU) for _ in seeds]
                terms = step(state, setup, index, 1.0, streams, Clock(CPU))
                assert {(each.device, each.dtype) for each in terms.values()} == {(GPU, torch.float32)}
    return copies.found


@pytest.fixture(autouse=True)
def _gpu_with_all_formats(any_format: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast looks for a GPU; which format products compute in is no matter here."""
    monkeypatch.setattr("robench_fire.training.attack.autocast", lambda *_: torch.autocast("cpu", enabled=False))
    monkeypatch.setattr("robench_fire.training.step.autocast", lambda *_: torch.autocast("cpu", enabled=False))


@pytest.mark.parametrize("name", registry.names("defenses"))
def test_a_step_stays_on_the_device(small: Splits, name: str) -> None:
    given = problem(small, name, augment=ALL_VIEWS)
    taught = given.teacher and (lambda seed: build())  # a real network cannot be moved to where there is none
    assert stepped(replace(given, teacher=taught)) == []


@pytest.mark.parametrize("changes", [{"ghost_batch": 16}, {"passes": ("clean", "adv", "clean")}], ids=str)
def test_so_it_does_by_other_recipes(small: Splits, changes: dict[str, Any]) -> None:
    assert stepped(problem(small, "trades", **changes)) == []


def test_so_do_seeds_side_by_side(small: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked, "copy", SimpleNamespace(deepcopy=lambda model: build()))  # fake ones cannot be copied
    assert stepped(problem(small, "fire_sa"), (0, 3)) == []


@pytest.mark.parametrize("name", [name for name in needs.NEEDS if "start" not in name and "teacher" not in name])
def test_whatever_a_loss_asks_for_stays_on_the_device(name: str) -> None:
    assert stepped(needs.problem(name)) == []


class Reads(OnGpu):
    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits if float(logits.sum()) > -1e9 else logits * 0


class Picks(OnGpu):
    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits[logits[:, 0] > 0]


class Copied(OnGpu):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.ones(1, 10).to(x.device)


class Elsewhere(OnGpu):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.ones(1, 10)


@pytest.mark.parametrize(
    ("model", "fault"),
    [(Reads, DataDependentOutputException), (Picks, DynamicOutputShapeException), (Elsewhere, RuntimeError)],
)
def test_waits_sizes_and_devices_are_noticed(small: Splits, model: type[OnGpu], fault: type[Exception]) -> None:
    with pytest.raises(fault):
        stepped(problem(small, "madry"), made=partial(build, model))


def test_copies_are_noticed(small: Splits) -> None:
    assert "aten._to_copy.default" in stepped(problem(small, "madry"), made=partial(build, Copied))


@pytest.mark.parametrize("name", ["fire", "fire_awp", "self_adaptive"])
def test_what_recorded_kernels_write_to_stays_where_it_is(small: Splits, name: str) -> None:
    """Weights, statistics and momentum lie at the same addresses after any step: CUDA graphs know them by these."""
    state, setup = prepared(DigitsCNN, problem(small, name, epochs=3), [0], CPU)

    def places() -> list[int]:
        own = [
            *state.model.state_dict().values(),
            *(each["momentum_buffer"] for each in state.optimiser.state.values()),
        ]
        return [each.data_ptr() for each in own]

    train_epoch(state, setup, 1, set(), lambda done, rate: None)
    before = places()
    train_epoch(state, setup, 2, set(), lambda done, rate: None)
    assert places() == before


def test_nothing_is_compiled_after_the_first_epoch(small: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole batch and the last one each once, in the attack for each of its formats."""
    made: list[str] = []

    def compiler(graph: Any, examples: Any) -> Any:
        made.append(str(len(examples)))
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiler))
    torch._dynamo.reset()
    few = small._replace(train=small.train.take(slice(150)))  # 64, 64 and 22
    state, setup = prepared(DigitsCNN, problem(few, "fire", epochs=3), [0], CPU, compiling=True, say=pytest.fail)
    train_epoch(state, setup, 1, set(), lambda done, rate: None)
    first = len(made)
    train_epoch(state, setup, 2, set(), lambda done, rate: None)
    assert first == len(made) == 4  # gain and passes, for two sizes
