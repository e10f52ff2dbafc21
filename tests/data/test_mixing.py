"""Mixed images: mixup and CutMix."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from robench_fire.data.mixing import Mixing, drawn
from robench_fire.problem.recipe import CutMix, Mixup

KINDS = [Mixup(alpha=0.2), Mixup(), CutMix(), CutMix(alpha=0.3)]


def batch(rows: int = 6) -> tuple[Tensor, Tensor]:
    source = Generator().manual_seed(1)
    target = one_hot(torch.randint(10, (rows,), generator=source), 10).float()
    return torch.rand(rows, 3, 16, 12, generator=source), target * torch.linspace(0.5, 2, rows)[:, None]


def way(kind: Mixup | CutMix, seed: int, rows: int = 6) -> Mixing:
    return drawn(kind, batch(rows)[0], Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_share_of_a_target_is_that_of_the_pixels(kind: Mixup | CutMix) -> None:
    x, target = batch()
    for seed in range(20):
        found = way(kind, seed)
        share = found.own.expand(6, 1, 16, 12).double().mean((1, 2, 3))
        expected = share[:, None] * target + (1 - share[:, None]) * target[found.partner]
        torch.testing.assert_close(found.targets(target).double(), expected, rtol=1e-5, atol=1e-6)
        mixed = found.images(x)
        assert mixed.shape == x.shape
        assert mixed.min() >= 0
        assert mixed.max() <= 1 + 1e-6
        assert found.own.unique().numel() <= 2  # one share for all images, or pixels that are whole


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_mass_of_all_targets_stays(kind: Mixup | CutMix) -> None:
    """Each image is a partner once, so that weights are moved and none is lost."""
    _, target = batch()
    found = way(kind, 3)
    assert sorted(found.partner.tolist()) == list(range(6))
    torch.testing.assert_close(found.targets(target).sum(), target.sum())
    plain = target / target.sum(1, keepdim=True)
    torch.testing.assert_close(found.targets(plain).sum(1), torch.ones(6))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_generator_decides(kind: Mixup | CutMix) -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first, again, other = way(kind, 0), way(kind, 0), way(kind, 1)
    assert torch.equal(torch.rand(2), expected)  # the caller's generator is left alone
    assert torch.equal(first.partner, again.partner)
    assert torch.equal(first.own, again.own)
    assert not torch.equal(first.own, other.own)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_batch_of_one_is_mixed_with_itself(kind: Mixup | CutMix) -> None:
    x, target = batch(1)
    found = way(kind, 0, 1)
    torch.testing.assert_close(found.images(x), x)
    torch.testing.assert_close(found.targets(target), target)


def test_a_box_of_one_image_lies_in_another() -> None:
    x, _ = batch()
    found = way(CutMix(), 4)
    own = found.own[0, 0].bool()
    assert 0 < own.float().mean() < 1
    for number, mixed in enumerate(found.images(x)):
        assert torch.equal(mixed[:, own], x[number][:, own])
        assert torch.equal(mixed[:, ~own], x[found.partner[number]][:, ~own])
    rows, columns = (~own).any(1), (~own).any(0)
    assert torch.equal(~own, rows[:, None] & columns[None, :])


def test_shares_are_beta_distributed() -> None:
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)); a cut box is as large as its share, but for the border."""
    for alpha in (0.3, 1.0):
        shares = torch.stack([way(Mixup(alpha=alpha), seed, 1).own.flatten()[0] for seed in range(2000)])
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
        assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    kept = torch.stack([way(CutMix(), seed, 1).own.mean() for seed in range(2000)])
    assert 0.5 < float(kept.mean()) < 0.75  # boxes that the border cuts are smaller


@pytest.mark.parametrize("kind", [Mixup, CutMix])
@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_is_positive(kind: type[Mixup], alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha .*: must be positive"):
        kind(alpha=alpha)


def test_a_small_alpha_leaves_nearly_all_images_whole() -> None:
    """Beta(0.01, 0.01) is 0 or 1 but for rounding; two gammas of which both are float32's least number give a half."""
    shares = torch.tensor([float(way(Mixup(alpha=0.01), seed).own.flatten()[0]) for seed in range(200)])
    assert not (shares == 0.5).any()
    assert ((shares < 0.01) | (shares > 0.99)).float().mean() > 0.8
