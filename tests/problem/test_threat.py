"""The balls, their projections, and the numbers that name their radii."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robench_fire.problem.threat import L2, Linf, Threat
from robench_fire.quantity import Quantity

TOLERANCE = 1e-6  # float32, for pixels in [0, 1]
radii = st.sampled_from(["0", "1/255", "8/255", "0.031", "0.3", "1"])
threats = st.builds(lambda kind, eps: kind(eps=Quantity(eps)), st.sampled_from([Linf, L2]), radii)
seeds = st.integers(0, 2**31)
shapes = st.sampled_from([(1, 1, 1, 1), (3, 1, 4, 4), (2, 3, 5, 5)])


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Some pixels are exactly black or white, where the ball is cut."""
    return (torch.rand(shape, generator=generator) * 1.4 - 0.2).clamp(0, 1)


def scattered(x: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    return x + spread * torch.randn(x.shape, generator=generator)


def assert_inside(threat: Threat, x_adv: Tensor, x: Tensor) -> None:
    assert (threat.distance(x_adv, x) <= threat.eps + TOLERANCE).all()
    assert (x_adv >= 0).all()
    assert (x_adv <= 1).all()


@given(threats, seeds, shapes, st.sampled_from([0.0, 0.01, 1.0, 100.0]))
def test_projection_lands_inside_and_stays_there(
    threat: Threat, seed: int, shape: tuple[int, ...], spread: float
) -> None:
    generator = stream(seed)
    x = images(shape, generator)
    projected = threat.project(scattered(x, spread, generator), x)
    assert_inside(threat, projected, x)
    torch.testing.assert_close(threat.project(projected, x), projected, rtol=0, atol=TOLERANCE)


@given(threats, seeds, shapes)
def test_projection_leaves_points_inside_alone(threat: Threat, seed: int, shape: tuple[int, ...]) -> None:
    generator = stream(seed)
    x = images(shape, generator)
    inside = (x + (threat.sample(x, generator) - x) * 0.99).clamp(0, 1)
    torch.testing.assert_close(threat.project(inside, x), inside, rtol=0, atol=TOLERANCE)


@given(threats, seeds, shapes, st.sampled_from([0.01, 1.0, 10.0]))
def test_projection_never_moves_two_points_apart(
    threat: Threat, seed: int, shape: tuple[int, ...], spread: float
) -> None:
    generator = stream(seed)
    x = images(shape, generator)
    a, b = scattered(x, spread, generator), scattered(x, spread, generator)
    after, before = threat.project(a, x) - threat.project(b, x), a - b
    assert (after.flatten(1).norm(dim=1) <= before.flatten(1).norm(dim=1) * (1 + TOLERANCE) + TOLERANCE).all()


@given(radii, seeds, shapes, st.sampled_from([0.01, 1.0]))
def test_linf_projection_is_the_nearest_point(eps: str, seed: int, shape: tuple[int, ...], spread: float) -> None:
    """Pixel by pixel: the nearest value of [max(0, x - eps), min(1, x + eps)]."""
    generator = stream(seed)
    x = images(shape, generator)
    wanted = scattered(x, spread, generator)
    radius = float(Fraction(eps))
    expected = [
        min(max(a, 0.0, pixel - radius), 1.0, pixel + radius)
        for a, pixel in zip(wanted.flatten().tolist(), x.flatten().tolist(), strict=True)
    ]
    projected = Linf(eps=Quantity(eps)).project(wanted, x).flatten().tolist()
    assert projected == pytest.approx(expected, abs=TOLERANCE)


def test_l2_projection_scales_what_is_outside_only() -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    x_adv = x + torch.tensor([0.3, 0.1]).view(2, 1, 1, 1)  # lengths 0.6 and 0.2
    projected = L2(eps=Quantity("0.4")).project(x_adv, x)
    torch.testing.assert_close(projected[0], x[0] + 0.2)
    torch.testing.assert_close(projected[1], x_adv[1])


@given(threats, seeds, shapes)
def test_samples_are_inside_and_reproducible(threat: Threat, seed: int, shape: tuple[int, ...]) -> None:
    x = images(shape, stream(seed))
    sample = threat.sample(x, stream(seed))
    assert_inside(threat, sample, x)
    assert torch.equal(sample, threat.sample(x, stream(seed)))


def test_linf_samples_are_uniform() -> None:
    x = torch.full((2000, 1, 1, 1), 0.5)
    shares = (Linf(eps=Quantity("0.1")).sample(x, stream(0)) - x).flatten() / 0.1
    assert shares.mean().item() == pytest.approx(0, abs=0.05)
    assert shares.square().mean().item() == pytest.approx(1 / 3, abs=0.03)


def test_l2_samples_are_uniform() -> None:
    """The share of the ball's volume within a sample's length is uniform on [0, 1]."""
    x = torch.full((2000, 1, 2, 2), 0.5)
    threat = L2(eps=Quantity("0.1"))
    sample = threat.sample(x, stream(0))
    volume = (threat.distance(sample, x) / 0.1) ** 4
    assert volume.mean().item() == pytest.approx(0.5, abs=0.03)
    assert volume.square().mean().item() == pytest.approx(1 / 3, abs=0.03)
    assert (sample - x).mean(0).abs().max() < 0.005


@given(seeds, shapes, st.floats(0.001, 1))
def test_linf_ascends_by_the_step_in_every_pixel(seed: int, shape: tuple[int, ...], step: float) -> None:
    generator = stream(seed)
    x, grad = images(shape, generator), torch.randn(shape, generator=generator)
    grad[0] = 0
    moved = Linf(eps=Quantity("8/255")).ascend(x, grad, step) - x
    torch.testing.assert_close(moved[0], torch.zeros_like(moved[0]), rtol=0, atol=0)
    torch.testing.assert_close(moved[1:], step * grad[1:].sign(), rtol=0, atol=TOLERANCE)


@given(seeds, shapes, st.floats(0.001, 1), st.sampled_from([1e-6, 1.0, 1e6]))
def test_l2_ascends_by_the_step_along_the_gradient(
    seed: int, shape: tuple[int, ...], step: float, scale: float
) -> None:
    generator = stream(seed)
    x, grad = images(shape, generator), scale * torch.randn(shape, generator=generator)
    grad[0] = 0
    moved = (L2(eps=Quantity("0.5")).ascend(x, grad, step) - x).flatten(1)
    torch.testing.assert_close(moved[0], torch.zeros_like(moved[0]), rtol=0, atol=0)
    direction = grad.flatten(1)[1:]
    torch.testing.assert_close(
        moved[1:], step * direction / direction.norm(dim=1, keepdim=True), rtol=0, atol=TOLERANCE
    )


def test_distance() -> None:
    x = torch.zeros(2, 1, 2, 2)
    x_adv = torch.tensor([[[[0.3, -0.4], [0, 0]]], [[[0.1, 0.1], [0.1, -0.1]]]])
    assert Linf(eps=Quantity("0.5")).distance(x_adv, x).tolist() == pytest.approx([0.4, 0.1])
    assert L2(eps=Quantity("0.5")).distance(x_adv, x).tolist() == pytest.approx([0.5, 0.2])


@pytest.mark.parametrize(("kind", "eps"), [(Linf, "-0.1"), (Linf, "8"), (Linf, "256/255"), (L2, "-1/2"), (L2, "1e7")])
def test_refuses_a_radius_out_of_range(kind: type[Linf] | type[L2], eps: str) -> None:
    with pytest.raises(ValueError, match=f"^eps {eps} "):
        kind(eps=Quantity(eps))


@pytest.mark.parametrize("threat", [Linf(eps=Quantity("0")), Linf(eps=Quantity("1")), L2(eps=Quantity("0"))])
def test_the_ends_of_the_range_are_allowed(threat: Threat) -> None:
    assert threat == replace(threat)


decimals = st.decimals(-100, 100, allow_nan=False, allow_infinity=False, places=6).map(str)
fractions = st.tuples(st.integers(-999, 999), st.integers(1, 999)).map(lambda ab: f"{ab[0]}/{ab[1]}")


@given(st.one_of(decimals, fractions))
def test_quantity_keeps_its_text(text: str) -> None:
    quantity = Quantity(text)
    assert str(quantity) == text
    assert quantity == float(Fraction(text))
    for twin in (Quantity(quantity), pickle.loads(pickle.dumps(quantity)), copy.copy(quantity)):
        assert (type(twin), str(twin), twin) == (Quantity, text, quantity)
    assert str(copy.deepcopy([quantity])[0]) == text
    assert eval(repr(quantity)).text == text


@given(st.floats(-1e6, 1e6))
def test_quantity_of_a_float_is_that_float(value: float) -> None:
    assert Quantity(value) == value


def test_quantity_ignores_spaces() -> None:
    assert str(Quantity(" 8 / 255 ")) == "8/255"


def test_threats_keep_the_text_of_their_radius() -> None:
    threat = replace(Linf(eps=Quantity("0.3")), eps=Quantity("8/255"))
    for twin in (threat, replace(threat), pickle.loads(pickle.dumps(threat)), copy.deepcopy(threat)):
        assert str(twin.eps) == "8/255"
        assert twin == threat


@pytest.mark.parametrize("text", ["9/0", "abc", "nan", "inf", "-inf", "", "8/255/1", "0x1", "1e999"])
def test_quantity_refuses_what_is_not_a_number(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(repr(text))} is not a number"):
        Quantity(text)


@pytest.mark.parametrize("size", [1e-10, 1e-16, 1e-30, 1e20])
def test_an_l2_step_has_its_length_however_small_the_gradient(size: float) -> None:
    x, threat = torch.zeros(1, 1, 4, 4), L2(eps=Quantity("0.5"))
    moved = threat.ascend(x, torch.full_like(x, size), 0.1)
    assert threat.distance(moved, x).item() == pytest.approx(0.1, rel=1e-5)
    assert torch.equal(threat.ascend(x, torch.zeros_like(x), 0.1), x)


@pytest.mark.parametrize("text", ["1e99999999", "1 2", "1_0", "٣", "--1", "1/-2", "8/255/2"])
def test_odd_spellings_of_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        Quantity(text)


@pytest.mark.parametrize("written", ["8/255", 8 / 255, Quantity("8/255")])
@pytest.mark.parametrize("kind", [Linf, L2])
def test_a_radius_is_written_as_people_do(kind: type[Linf] | type[L2], written: Quantity | str | float) -> None:
    threat = kind(written)
    assert threat == kind(eps=Quantity("8/255"))
    assert str(threat.eps) == str(written)
    for other in (pickle.loads(pickle.dumps(threat)), copy.deepcopy(threat), replace(threat)):
        assert (other, str(other.eps), hash(other)) == (threat, str(written), hash(threat))


def test_a_radius_that_is_none_is_refused() -> None:
    for wrong in ("eight", "", float("nan"), 8):
        with pytest.raises(ValueError, match=r"not a number|range of a pixel"):
            Linf(wrong)
