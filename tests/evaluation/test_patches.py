"""Square's questions, of which only what a square reaches is computed: the same logits, the same perturbed images."""

from __future__ import annotations

import pytest
import torch
from pyautoattack.square import SquareAttack
from torch import Tensor, nn
from torch.nn import functional

from robench_fire.evaluation.autoattack import square
from robench_fire.evaluation.autoattack.attacked_model import attacked_model
from robench_fire.evaluation.autoattack.patches import Tracked, tracked
from robench_fire.evaluation.autoattack.square import square_linf, within
from robench_fire.evaluation.autoattack.steps import traced
from robench_fire.models import architectures
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.threat import Linf


class Mixed(nn.Module):
    """A bit of everything: a normalisation inside, a shortcut, strides, groups, gaps, and what is no convolution."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=4)
        self.gaps = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.smaller, self.shortcut = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.Conv2d(8, 12, 1, stride=2)
        self.pool, self.last = nn.MaxPool2d(2), nn.Conv2d(12, 6, 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.first((x - self.mean) / 0.25)), inplace=True)
        x += self.gaps(self.grouped(x))
        x = self.pool(self.smaller(x) + self.shortcut(x))
        logits: Tensor = self.head(self.last(x).relu().mean((2, 3)))
        return logits


def mixed() -> nn.Module:
    torch.manual_seed(0)
    return Mixed().double().eval().requires_grad_(False)


def images(count: int, height: int, width: int) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def wide_resnet() -> nn.Module:
    torch.manual_seed(0)
    return architectures.build("wrn-10-1", (3, 32, 32), 10, "none", (), ()).double().eval()


@pytest.mark.parametrize(
    ("model", "classes", "size"), [(mixed(), 5, (21, 18)), (wide_resnet(), 10, (32, 32))], ids=["mixed", "wrn-10-1"]
)
def test_logits_are_the_whole_models_however_often_images_change(
    model: nn.Module, classes: int, size: tuple[int, int]
) -> None:
    x, draw = images(7, *size), torch.Generator().manual_seed(2)
    known, shares = Tracked(traced(model), classes), []
    with torch.no_grad():
        torch.testing.assert_close(known.begin(x), model(x).float())
        for side in (1, 2, 3, 4, 5, 9, min(size)) * 4:
            top, left = (int(torch.randint(0, each - side + 1, (1,), generator=draw)) for each in size)
            area, rows = (slice(top, top + side), slice(left, left + side)), torch.randperm(7, generator=draw)[:5]
            changed = x[rows]
            changed[within(area)] = torch.rand(5, 3, side, side, generator=draw, dtype=torch.double)
            found = known.ask(rows, area, changed[within(area)])
            torch.testing.assert_close(found, model(changed).float())
            shares.append(known.computed)
            better = torch.tensor([0, 3])
            known.take(rows[better], better)
            x[rows[better]] = changed[better]
    assert min(shares) < 0.5
    assert max(shares) == 1


@pytest.mark.parametrize("room", [2, 5])
def test_square_ends_where_upstream_does(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many images are remembered at a time."""
    monkeypatch.setattr(square, "QUERIES", 250)
    model, x = mixed(), images(5, 18, 18)

    def forward(x: Tensor) -> Tensor:
        logits: Tensor = model(x).float()
        return logits

    label = forward(x).argmax(1)
    theirs = SquareAttack(forward, eps=0.12, n_queries=250, resc_schedule=False, device="cpu")
    theirs.init_hyperparam(x)
    known, shares = Tracked(traced(model), 5), list[float]()
    known.begin(x[:1])
    known.room = room
    monkeypatch.setattr(known, "begin", lambda x: Tracked.begin(known, x))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        _, expected = theirs.attack_single_run(x, label)
        torch.manual_seed(0)
        whole = square_linf(forward, x, label, 0.12, lambda done: None)
        torch.manual_seed(0)
        found = square_linf(forward, x, label, 0.12, shares.append, known)
    stands = forward(found).argmax(1) == label
    assert 0 < stands.sum() < 5
    assert torch.equal(whole, expected)
    assert torch.equal(found, expected)
    assert shares == sorted(shares)
    assert shares[-1] <= 1


class InPlace(DigitsCNN):
    """Changes its input's feature map by a method."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward((1 - x).clamp_(0, 1))
        return logits


class Decides(DigitsCNN):
    """Cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x if x.mean() > 0.5 else 1 - x)
        return logits


class Random(DigitsCNN):
    """Never gives the same logits twice."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x) + torch.rand(len(x), 1)
        return logits


@pytest.mark.parametrize("kind", [InPlace, Decides, Random])
def test_what_cannot_be_followed_is_asked_whole(kind: type[DigitsCNN]) -> None:
    x = torch.rand(3, 1, 16, 16)
    for made, follows in ((DigitsCNN(), True), (kind(), False)):
        made.classifier[0] = nn.Linear(16 * 64, 64)
        model = made.eval().requires_grad_(False)
        assert (tracked(model, x, 10, model) is not None) == follows


def test_small_images_and_networks_without_convolutions_are_asked_whole() -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    for model, x in ((DigitsCNN().eval(), torch.rand(3, 1, 8, 8)), (dense, torch.rand(3, 3, 32, 32))):
        attacked, _ = attacked_model(
            model, x, torch.zeros(3, dtype=torch.long), Linf("0.1"), num_classes=10, seed=0, batch_size=3
        )
        assert attacked.tracked is None
