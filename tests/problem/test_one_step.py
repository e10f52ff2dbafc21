"""Starts further out, steps that are not projected onto the ball, and replays, on a model whose gradient is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.settings import to_plain
from robench_fire.problem.threat import L2, Linf, Threat, scaled
from robench_fire.quantity import Quantity

LINF, BALL = Linf("0.1"), L2("0.5")
X = 0.3 + 0.4 * torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(1))
UPHILL = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(2))
each_threat = pytest.mark.parametrize("threat", [LINF, BALL], ids=lambda threat: threat.norm)


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def one(**changes: object) -> Pgd:
    return Pgd(steps=1, step=Quantity("0.1"), **changes)  # type: ignore[arg-type]


def found(attack: Pgd, x: Tensor, threat: Threat = LINF) -> Tensor:
    return attack(lambda z: z.flatten(1), lambda z: z @ UPHILL.flatten(), x, threat, stream())


def test_a_wide_start_fills_the_wider_ball() -> None:
    noise = one(start="uniform", spread=2.0).begin(X, LINF, stream()) - X
    assert noise.abs().max().item() == pytest.approx(0.2, rel=0.02)
    assert noise.std().item() == pytest.approx(0.2 / 3**0.5, rel=0.05)
    lengths = BALL.distance(one(start="uniform", spread=1.5).begin(X, BALL, stream()), X)
    assert 0.7 < lengths.max() <= 0.75 + 1e-6


@each_threat
def test_a_bernoulli_start_is_on_the_edge_of_its_ball(threat: Threat) -> None:
    begun = one(start="bernoulli", spread=0.5).begin(X, threat, stream())
    torch.testing.assert_close(threat.distance(begun, X), torch.full((50,), threat.eps / 2), rtol=1e-4, atol=0)
    steps = (begun - X).abs()
    torch.testing.assert_close(steps, steps[:1, :, :1, :1].expand_as(steps), rtol=1e-4, atol=1e-6)
    assert 0.4 < (begun > X).float().mean() < 0.6
    torch.testing.assert_close(
        threat.distance(one(start="bernoulli").begin(X, threat, stream()), X), torch.full((50,), float(threat.eps)),
        rtol=1e-4, atol=0,
    )  # fmt: skip


def test_a_start_and_a_step_that_are_cut_by_pixels_alone() -> None:
    """N-FGSM, written down: x + eta + alpha sign(g), eta within two radii, alpha the radius."""
    x = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(7))
    eta = torch.empty_like(x).uniform_(-0.2, 0.2, generator=stream())
    expected = ((x + eta).clamp(0, 1) + 0.1 * UPHILL.sign()).clamp(0, 1)
    attack = one(start="uniform", spread=2.0, within="pixels")
    torch.testing.assert_close(found(attack, x), expected, rtol=0, atol=1e-6)
    assert LINF.distance(found(attack, x), x).max() > 0.25  # a training image may lie three radii away
    within = found(one(start="uniform", spread=2.0), x)
    assert LINF.distance(within, x).max() <= 0.1 + 1e-6


def test_one_step_from_a_random_start_written_down() -> None:
    """FGSM-RS: delta uniform in the ball, one step of 1.25 radii, cut with the ball and with [0, 1]."""
    x = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(7))
    delta = torch.empty_like(x).uniform_(-0.1, 0.1, generator=stream())
    delta = ((x + delta).clamp(0, 1) - x + 0.125 * UPHILL.sign()).clamp(-0.1, 0.1)
    attack = Pgd(steps=1, step=Quantity("0.125"), start="uniform")
    torch.testing.assert_close(found(attack, x), (x + delta).clamp(0, 1), rtol=0, atol=1e-6)


@each_threat
def test_a_replays_perturbation_climbs_and_stays_in_the_ball(threat: Threat) -> None:
    attack, kept = Replay(step=Quantity("0.04"), times=8), torch.zeros_like(X)
    for number in range(1, 17):
        kept = attack.moved(kept, UPHILL.expand_as(X) * 1e-6, threat)  # its scale plays no part
        reached = threat.distance(attack.images(X, kept, threat), X)
        expected = torch.full((50,), min(0.04 * number, float(threat.eps)))
        torch.testing.assert_close(reached, expected, rtol=1e-4, atol=0)
    assert (kept.sign() == UPHILL.sign()).all()


def test_a_replays_perturbation_is_none_of_the_images() -> None:
    """What black and white pixels cut off is there for the next batch, whose images are others."""
    attack = Replay(step=Quantity("0.1"))
    kept = attack.moved(torch.zeros_like(X), UPHILL.expand_as(X), LINF)
    assert torch.equal(attack.images(torch.ones_like(X), kept, LINF).max(), torch.ones(()))
    torch.testing.assert_close(attack.images(X, kept, LINF), X + 0.1 * UPHILL.sign(), rtol=0, atol=1e-6)


@each_threat
def test_a_gradient_that_is_not_finite_moves_nothing(threat: Threat) -> None:
    attack, kept = Replay(step=Quantity("0.1")), 0.01 * torch.ones_like(X)
    for value in (torch.nan, torch.inf, -torch.inf):
        torch.testing.assert_close(attack.moved(kept, torch.full_like(X, value), threat), kept)


def test_what_is_not_said_is_not_in_a_plan() -> None:
    assert set(to_plain(one())) == {"kind", "steps", "step", "start"}
    assert to_plain(Replay(step=Quantity("8/255"))) == {"kind": "Replay", "step": "8/255", "times": 8}


def test_a_ball_of_so_many_radii() -> None:
    assert scaled(LINF, 2.0) == Linf("0.2")
    assert scaled(BALL, 0.5) == L2("0.25")
    with pytest.raises(ValueError, match="is outside"):
        scaled(LINF, 11.0)
