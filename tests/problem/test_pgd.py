"""The attack loop on problems whose optimum is known in closed form."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from robench_fire.losses import cross_entropy, squared_half_angle
from robench_fire.problem.pgd import Forward, Gain, Pgd, margin
from robench_fire.problem.threat import L2, Linf, Threat
from robench_fire.quantity import Quantity

LINF = Linf(eps=Quantity("8/255"))
L2_BALL = L2(eps=Quantity("0.1"))
SHAPES = [(4, 1, 1, 1), (3, 1, 4, 4), (2, 3, 8, 8)]
STARTS = ["uniform", "gaussian", "zero"]

each_threat = pytest.mark.parametrize("threat", [LINF, L2_BALL], ids=lambda threat: threat.norm)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_start = pytest.mark.parametrize("start", STARTS)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(shape: tuple[int, ...], low: float = 0.3, high: float = 0.7) -> Tensor:
    """Far enough from black and white that [0, 1] cuts no ball, unless told otherwise."""
    return low + (high - low) * torch.rand(shape, generator=stream(1))


def linear(shape: tuple[int, ...], classes: int = 2) -> tuple[Forward, Tensor]:
    weight = torch.randn(torch.Size(shape[1:]).numel(), classes, generator=stream(2))
    return lambda x: x.flatten(1) @ weight, weight


def against_class_0(classes: int) -> Gain:
    """The cross-entropy of label 0; with two linear classes it rises along w_1 - w_0 and nowhere else."""
    return lambda logits: cross_entropy(logits, torch.eye(classes)[torch.zeros(len(logits), dtype=torch.long)])


def uphill(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    return (weight[:, 1] - weight[:, 0]).view(1, *shape[1:])


def optimum(x: Tensor, direction: Tensor, threat: Threat) -> Tensor:
    if threat.norm == "Linf":
        return (x + threat.eps * direction.sign()).clamp(0, 1)
    return x + threat.eps * direction / direction.norm()


def pgd(threat: Threat, steps: int, start: str = "zero") -> Pgd:
    return Pgd(steps=steps, step=Quantity(float(threat.eps) / 4), start=start)  # type: ignore[arg-type]


def recorded(forward: Forward) -> tuple[Forward, list[Tensor]]:
    seen: list[Tensor] = []

    def recording(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return forward(x)

    return recording, seen


def small_network(shape: tuple[int, ...] = (3, 1, 4, 4)) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(shape[1], 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )
    network(torch.rand(shape))
    return network.eval()


@each_threat
@each_shape
def test_finds_the_optimum_of_a_linear_model(shape: tuple[int, ...], threat: Threat) -> None:
    x = images(shape)
    forward, weight = linear(shape)
    found = pgd(threat, steps=5)(forward, against_class_0(2), x, threat, stream())
    torch.testing.assert_close(found, optimum(x, uphill(weight, shape), threat), rtol=0, atol=1e-6)


@each_threat
@each_shape
@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_comes_near_the_optimum_from_a_random_start(shape: tuple[int, ...], threat: Threat, start: str) -> None:
    x = images(shape)
    forward, weight = linear(shape)
    found = pgd(threat, steps=20, start=start)(forward, against_class_0(2), x, threat, stream())
    direction = uphill(weight, shape)
    reached = ((found - x) * direction).flatten(1).sum(1)
    best = ((optimum(x, direction, threat) - x) * direction).flatten(1).sum(1)
    assert (reached >= 0.99 * best).all()
    assert (reached <= best * (1 + 1e-4)).all()


def test_optimum_where_pixels_are_cut_at_black_and_white() -> None:
    shape = (3, 1, 4, 4)
    x = images(shape, -0.02, 1.02).clamp(0, 1)
    forward, weight = linear(shape)
    found = pgd(LINF, steps=10, start="uniform")(forward, against_class_0(2), x, LINF, stream())
    torch.testing.assert_close(found, optimum(x, uphill(weight, shape), LINF), rtol=0, atol=1e-6)


@each_threat
def test_gain_does_not_fall_with_more_steps_on_a_convex_case(threat: Threat) -> None:
    x = images((4, 3, 5, 5))
    forward, _ = linear(x.shape, classes=4)
    gain = against_class_0(4)
    gains = [gain(forward(x))]
    for steps in range(1, 11):
        gains.append(gain(forward(pgd(threat, steps)(forward, gain, x, threat, stream()))))
    rises = torch.stack(gains).diff(dim=0)
    assert (rises >= -1e-6).all()
    assert (rises[0] > 0).all()


@each_threat
@each_start
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_one_forward_and_one_gain_per_step(threat: Threat, start: str, steps: int) -> None:
    x = images((2, 3, 4, 4))
    forward, seen = recorded(linear(x.shape)[0])
    gains = 0

    def gain(logits: Tensor) -> Tensor:
        nonlocal gains
        gains += 1
        return against_class_0(2)(logits)

    pgd(threat, steps, start)(forward, gain, x, threat, stream())
    assert (len(seen), gains) == (steps, steps)


@each_threat
def test_leaves_the_model_and_the_images_alone(threat: Threat) -> None:
    x = images((3, 1, 4, 4))
    untouched = x.clone()
    network = small_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = pgd(threat, 4, "uniform")(network, against_class_0(3), x, threat, stream())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(x, untouched)
    assert not x.requires_grad
    assert not found.requires_grad


def test_works_where_gradients_are_off() -> None:
    x = images((3, 1, 4, 4))
    network = small_network()
    attack = pgd(LINF, 3)
    expected = attack(network, against_class_0(3), x, LINF, stream())
    with torch.no_grad():
        assert torch.equal(attack(network, against_class_0(3), x, LINF, stream()), expected)


def first_input(start: str, x: Tensor, threat: Threat, generator: torch.Generator) -> Tensor:
    forward, seen = recorded(linear(x.shape)[0])
    pgd(threat, 1, start)(forward, against_class_0(2), x, threat, generator)
    return seen[0]


@each_threat
def test_zero_starts_at_the_image(threat: Threat) -> None:
    x = images((2, 3, 4, 4))
    assert torch.equal(first_input("zero", x, threat, stream()), x)


@each_threat
def test_uniform_starts_at_a_sample_of_the_ball(threat: Threat) -> None:
    x = images((2, 3, 4, 4))
    assert torch.equal(first_input("uniform", x, threat, stream()), threat.sample(x, stream()))


@each_threat
def test_gaussian_starts_a_thousandth_away(threat: Threat) -> None:
    x = images((20, 3, 8, 8))
    noise = first_input("gaussian", x, threat, stream()) - x
    assert noise.mean().item() == pytest.approx(0, abs=1e-4)
    assert noise.std().item() == pytest.approx(0.001, rel=0.05)


@each_threat
@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_a_generator_decides_everything(threat: Threat, start: str) -> None:
    x = images((3, 1, 4, 4))
    attack, network, gain = pgd(threat, 2, start), small_network(), against_class_0(3)
    first = attack(network, gain, x, threat, stream(5))
    torch.manual_seed(99)  # the global stream has no say
    assert torch.equal(first, attack(network, gain, x, threat, stream(5)))
    assert not torch.equal(
        first_input(start, x, threat, stream(5)),
        first_input(start, x, threat, stream(6)),
    )


class Hostile(torch.autograd.Function):
    """A value whose gradient is whatever it is told to be."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return x.flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        return ctx.gradient, None


HOSTILE = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e-45, -1e-39, 3e38, -3e38, 1.0, -0.01]
threats = st.one_of(st.floats(0, 1).map(Linf), st.floats(0, 1e6).map(L2), st.sampled_from([Linf("8/255"), L2("1/2")]))


@given(
    threat=threats,
    start=st.sampled_from(STARTS),
    step=st.floats(1e-45, 1e6),
    x=arrays(np.float32, (2, 1, 2, 3), elements=st.floats(0, 1, width=32)),
    gradients=st.lists(arrays(np.float32, (2, 1, 2, 3), elements=st.sampled_from(HOSTILE)), min_size=1, max_size=3),
)
def test_it_stays_in_the_ball_and_in_the_range_of_a_pixel_whatever_the_gradient(
    threat: Threat, start: str, step: float, x: Any, gradients: list[Any]
) -> None:
    images, attack = torch.from_numpy(x), Pgd(steps=len(gradients), step=Quantity(step), start=start)  # type: ignore[arg-type]
    values = [partial(lambda gradient, z: Hostile.apply(z, gradient), torch.from_numpy(each)) for each in gradients]
    found = attack.climb(values, images, attack.begin(images, threat, stream()), threat)
    assert (threat.distance(found, images) <= threat.eps * (1 + 1e-6) + 1e-6).all()
    assert (found >= 0).all()
    assert (found <= 1).all()


@each_threat
def test_images_of_a_batch_do_not_influence_each_other(threat: Threat) -> None:
    x = images((3, 1, 4, 4))
    network, gain, attack = small_network(), against_class_0(3), pgd(threat, 4)
    together = attack(network, gain, x, threat, stream())
    alone = torch.cat([attack(network, gain, each[None], threat, stream()) for each in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("start", "moves"), [("zero", False), ("gaussian", True)])
def test_a_divergence_has_no_gradient_at_the_image_itself(start: str, moves: bool) -> None:
    x = images((3, 1, 4, 4))
    network = small_network()
    clean = network(x).detach()
    found = pgd(LINF, 10, start)(network, partial(squared_half_angle, clean), x, LINF, stream())
    assert found.isfinite().all()
    assert (LINF.distance(found, x) > 0.9 * LINF.eps).all().item() is moves


@pytest.mark.parametrize(
    ("steps", "step", "named"),
    [
        (0, "0.1", "steps 0"),
        (-1, "0.1", "steps -1"),
        (1, "0", "step 0"),
        (1, "-1/255", "step -1/255"),
        (1, "1e7", "step 1e7"),
    ],
)
def test_refuses_an_attack_that_cannot_move(steps: int, step: str, named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}:"):
        Pgd(steps=steps, step=Quantity(step))


def test_the_margin_is_how_far_the_best_other_class_is_ahead() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [5.0, -1.0, 3.5], [2.0, 2.0, 0.0]], requires_grad=True)
    label = torch.tensor([1, 0, 0])
    found = margin(label)(logits)
    assert found.tolist() == [-2.0, -1.5, 0.0]
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.tolist() == [[0, -1, 1], [-1, 0, 1], [-1, 1, 0]]
