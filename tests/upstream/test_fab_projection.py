"""FAB's projection onto a plane inside the box, against upstream's and against what defines it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyautoattack import fab_base
from pyautoattack.fab_projections import projection_linf
from torch import Tensor

from robench_fire.evaluation.autoattack.fab_projection import lent, onto_plane


def drawn(size: int, away: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points in the box, normals with zeros among them, and planes about ``away`` from the points."""
    draw = torch.Generator().manual_seed(seed)
    points = torch.rand(40, size, generator=draw, dtype=torch.double)
    normal = torch.randn(40, size, generator=draw, dtype=torch.double)
    normal[torch.rand(40, size, generator=draw) < 0.3] = 0
    points[:, :2] = points[:, :2].round()  # some lie on the border
    return points, normal, (normal * points).sum(1) + away * torch.randn(40, generator=draw, dtype=torch.double)


@given(size=st.integers(2, 50), away=st.sampled_from([0.0, 0.01, 1.0, 30.0]), seed=st.integers(0, 10_000))
def test_it_is_upstreams(size: int, away: float, seed: int) -> None:
    points, normal, offset = drawn(size, away, seed)
    torch.testing.assert_close(
        onto_plane(points, normal, offset), projection_linf(points, normal, offset), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("away", [0.01, 1.0])
def test_it_is_the_smallest_step_that_reaches(away: float) -> None:
    points, normal, offset = drawn(30, away, 0)
    step = onto_plane(points, normal, offset)
    reached = points + step
    assert (reached >= -1e-12).all()
    assert (reached <= 1 + 1e-12).all()
    torch.testing.assert_close((normal * reached).sum(1), offset, rtol=0, atol=1e-9)
    shorter = 0.999 * step.abs().amax(1, keepdim=True)  # no point of the box this near is on the plane
    low, high = (points - shorter).clamp_min(0), (points + shorter).clamp_max(1)
    least = (normal.clamp_min(0) * low + normal.clamp_max(0) * high).sum(1)
    most = (normal.clamp_min(0) * high + normal.clamp_max(0) * low).sum(1)
    assert ((least > offset) | (most < offset)).all()


def test_a_plane_outside_the_box_is_approached_as_far_as_can_be() -> None:
    points, normal = torch.full((1, 3), 0.4), torch.tensor([[1.0, -2.0, 0.0]])
    assert torch.equal(points + onto_plane(points, normal, torch.tensor([9.0])), torch.tensor([[1.0, 0.0, 0.4]]))
    assert torch.equal(points + onto_plane(points, normal, torch.tensor([-9.0])), torch.tensor([[0.0, 1.0, 0.4]]))


def test_it_is_lent_for_the_time_of_a_search_only() -> None:
    with lent():
        assert fab_base.projection_linf is onto_plane
    assert fab_base.projection_linf is projection_linf
