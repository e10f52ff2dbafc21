"""FLOPs: known networks, what an update really does, and networks that are hard to count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from needs import NEEDS
from needs import problem as problem_of
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from robench_fire.costs.account import flops_per_image
from robench_fire.costs.flops import NetworkFlops, network_flops, update_flops
from robench_fire.costs.work import work
from robench_fire.models import architectures
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Splits
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request, compose
from robench_fire.training.engine import train
from robench_fire.training.setup import Problem
from robench_fire.training.validation import attacks

KNOWN = [  # multiply-adds of a forward pass of one image, in millions
    ("small-cnn", (1, 28, 28), "9.952"),
    ("wrn-34-10", (3, 32, 32), "6658.9"),
    ("wrn-28-10", (3, 32, 32), "5243.3"),
    ("resnet-18", (3, 32, 32), "555.4"),
    ("preact-resnet-18", (3, 32, 32), "555.4"),
]


@pytest.mark.parametrize(("arch", "shape", "millions"), KNOWN, ids=[each[0] for each in KNOWN])
def test_known_networks(arch: str, shape: tuple[int, int, int], millions: str) -> None:
    found = network_flops(lambda: architectures.build(arch, shape, 10, "none", (), ()), shape)
    decimals = len(millions.split(".")[1])
    assert f"{found.forward / 2 / 1e6:.{decimals}f}" == millions
    assert found.to_image == found.forward
    assert 1.97 * found.forward < found.to_weights < 2 * found.forward  # the first layer's images need no gradient


class Counter(TorchDispatchMode):
    """Adds up what every operator takes; torch's own FlopCounterMode cannot follow gradients inside its body."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def validated(each: NetworkFlops, given: Problem) -> int:
    """What validation takes for an image."""
    steps = [attack.steps for attack in attacks(given.recipe, given.threat).values()]
    return each.forward * (1 + len(steps)) + sum(steps) * (each.forward + each.to_image)


@pytest.mark.parametrize(
    ("defense", "changes"),
    [(name, {}) for name in ("madry", "trades", "mart", "self_adaptive", "fire", "fire_sa")]
    + [("trades", {"passes": ("clean", "adv", "clean")}), ("trades", {"attack": None}),
       ("fire", {"attack_mode": "train"})],
)  # fmt: skip
def test_an_update_is_counted_as_the_engine_runs_it(defense: str, changes: dict[str, object], small: Splits) -> None:
    composed = compose(Request(defense=defense, dataset="digits"))
    plan, build = composed.plan, composed.build
    attack = replace(plan.recipe.attack, steps=4, step=Quantity("0.1"))  # type: ignore[type-var]
    recipe = replace(plan.recipe, **{"attack": attack, "epochs": 2, "batch_size": 16} | changes)  # type: ignore[arg-type]
    images = small.train.take(slice(40))
    problem = Problem(plan.defense, plan.threat, recipe, images, images.take(slice(1)), 10)
    with Counter() as counter:
        train(build, problem, seed=0, device=torch.device("cpu"))
    each = network_flops(build, composed.dataset.shape)
    validation = validated(each, problem)
    assert counter.total == 2 * (40 * update_flops(each, work(plan.defense, recipe)) + validation)


@pytest.mark.parametrize("name", NEEDS)
def test_an_update_that_is_given_more_is_counted_as_the_engine_runs_it(name: str) -> None:
    """Second attacks, further images, perturbed weights, gradients of gradients, a teacher."""
    given = problem_of(name, 40, batch_size=16)
    with Counter() as counter:
        trained = train(DigitsCNN, given, seed=0, device=torch.device("cpu"))
    each = network_flops(DigitsCNN, (1, 8, 8))
    validation = validated(each, given)
    # a nuclear norm's backward multiplies matrices, and means of classes are a product with their members
    own = {"batch term": 192, "batch gain": 192 * 3, "memory of classes": 200}.get(name, 0)
    expected = flops_per_image(DigitsCNN, given) + own
    assert counter.total == 2 * (40 * expected + 30 * validation)
    assert len(trained.curve) == 2


class CountingForwards(DigitsCNN):
    """Counts its forward passes."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(x)


@pytest.mark.parametrize("name", NEEDS)
def test_forwards_of_an_update_that_is_given_more(name: str) -> None:
    given = problem_of(name, 32, epochs=1, batch_size=32)
    model, teacher = CountingForwards(), CountingForwards().eval()
    taught = replace(given, teacher=lambda seed: teacher) if given.teacher else given
    train(lambda: model, taught, seed=0, device=torch.device("cpu"))
    validation = 1 + sum(each.steps + 1 for each in attacks(given.recipe, given.threat).values())
    done = work(given.defense, given.recipe)
    assert (model.seen - validation, teacher.seen) == (done.forwards, done.taught)


FORWARDS = {
    "further image": 2 * 2 + 1 + 3 * 3,  # steps of the attack, clean logits, passes with their gradients
    "second attack": 4 * 2 + 1 + 3 * 3,
    "features": 2 * 2 + 1 + 2 * 3,
    "slopes": 2 * 2 + 1 * 3 + 1 + 2,
    "slopes at both": 2 * 2 + 1 + 2 * 3 + 2 * (1 + 2),
    "slopes without an attack": 3 + 1 + 2,
    "perturbed weights": 2 * 2 + 1 + 2 * (2 * 3),
    "perturbed weights, all at once": 4 * 2 + 1 + 2 * (3 * 3),
    "teacher": 2 * 2 + 2 * 3 + 1,
    "teacher of both": 2 * 2 + 1 + 2 * 3 + 2,
    "batch gain": 2 * 2 + 1 + 2 * 3,
    "random image": 2 * 2 + 1 + 3 * 3,
    "slopes at a random image": 2 * 2 + 1 + 3 * 3 + 2 * (1 + 2),
    "far from the image": 2 * 2 + 1 + 2 * 3,
    "replays": 3 * (2 * 3),  # nothing but its updates
    "replays, perturbed weights": 3 * 2 * (2 * 3),
}


@pytest.mark.parametrize(("name", "expected"), FORWARDS.items())
def test_forward_equivalents(name: str, expected: int) -> None:
    given = problem_of(name)
    assert work(given.defense, given.recipe).forward_equivalents == expected


def test_an_update_is_nearly_its_forward_equivalents() -> None:
    plan = compose(Request(defense="fire", dataset="cifar10")).plan
    same = NetworkFlops(100, 100, 200)
    assert (
        update_flops(same, work(plan.defense, plan.recipe)) == 100 * work(plan.defense, plan.recipe).forward_equivalents
    )


def test_a_grouped_convolution_is_no_dearer_backward() -> None:
    found = network_flops(lambda: nn.Conv2d(8, 16, 3, groups=4, padding=1), (8, 10, 10))
    forward = 2 * 100 * 16 * 2 * 9
    assert found == NetworkFlops(forward, forward, forward)  # no gradient of the first layer's images


class Stubborn(nn.Module):
    """Needs values, which tensors on the meta device do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(x.flatten(1))
        return scores * max(float(x.detach().max()), 1.0)


def test_a_network_that_needs_values_is_counted_all_the_same() -> None:
    assert network_flops(Stubborn, (3, 2, 2)) == NetworkFlops(120, 120, 120)


@pytest.mark.parametrize("build", [Stubborn, lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5))])
def test_counting_leaves_random_numbers_alone(build: type[nn.Module]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    network_flops(build, (3, 2, 2))
    assert torch.equal(torch.rand(2), expected)
