"""What attacks need not ask the model: broken images, changes that were refused, misclassified images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from robench_fire.evaluation.autoattack import attack_sets, square
from robench_fire.evaluation.autoattack.attack_sets import SETS, Attack, AttackedBlock, Heard, inside, perturb
from robench_fire.evaluation.autoattack.attacked_model import attacked_model
from robench_fire.evaluation.autoattack.leaving import AllBroken, Leaving
from robench_fire.problem.pgd import Forward
from robench_fire.problem.threat import L2, Linf, Threat
from robench_fire.quantity import Quantity

pytestmark = pytest.mark.slow

CLASSES = 5
LINF, L2_BALL = Linf(eps=Quantity("0.02")), L2(eps=Quantity("0.12"))
ATTACKS = sorted(
    {Attack(it.name, min(it.restarts, 2), min(it.samples, 2)) for its in SETS.values() for it in its}, key=str
)

each_threat = pytest.mark.parametrize("threat", [LINF, L2_BALL], ids=lambda threat: threat.norm)
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda its: f"{its.name}-{its.restarts}-{its.samples}")


def times(threat: Threat, factor: float) -> Threat:
    return type(threat)(eps=Quantity(str(round(float(threat.eps) * factor, 6))))  # type: ignore[call-arg]


def numbered(count: int) -> Tensor:
    """Images (N, 1, 8, 8) whose first pixel, which ``linear`` is blind to, says which of them they are."""
    x = 0.2 + 0.6 * torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    x[:, 0, 0, 0] = torch.linspace(0, 1, count)
    return x


def numbers(x: Tensor, count: int) -> Tensor:
    return (x[:, 0, 0, 0] * (count - 1)).round().long()


@cache
def weight_for(pixels: int) -> Tensor:
    weight = torch.randn(pixels, CLASSES, generator=torch.Generator().manual_seed(2)).double()
    weight[0] = 0
    return weight


def linear(x: Tensor) -> Tensor:
    """Logits, in double precision inside so that they do not depend on the size of the batch."""
    return (x.flatten(1).double() @ weight_for(x[0].numel())).float()


def recorded(forward: Forward) -> tuple[Forward, list[Tensor]]:
    seen: list[Tensor] = []

    def recording(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return forward(x)

    return recording, seen


def block_of(x: Tensor, threat: Threat, forward: Forward = linear, room: int = 10_000) -> AttackedBlock:
    return AttackedBlock(forward, x, linear(x).argmax(1), threat, CLASSES, room, Heard())


def ball(threat: Threat) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x_adv, x: inside(threat, x_adv, x)


def quiet(done: float) -> None:
    pass


@each_threat
def test_an_image_leaves_with_the_first_perturbation_that_counts(threat: Threat) -> None:
    x, threat = numbered(8), times(threat, 2.5)
    label = linear(x).argmax(1)
    forward, seen = recorded(linear)
    leaving = Leaving(forward, x, label, ball(threat))
    found, broken = x.clone(), torch.zeros(8, dtype=torch.bool)
    draw, too_far = torch.Generator().manual_seed(0), 0
    for factor in [1, 4] * 100:
        x_adv = times(threat, factor).sample(x, draw)
        logits = leaving(x_adv)
        assert torch.equal(seen[-1], x_adv[~broken])
        assert torch.equal(logits[~broken], linear(x_adv)[~broken])
        assert not logits[broken].any()
        wrong, allowed = ~broken & (linear(x_adv).argmax(1) != label), inside(threat, x_adv, x)
        too_far += int((wrong & ~allowed).sum())
        broken |= wrong & allowed
        found[wrong & allowed] = x_adv[wrong & allowed]
        assert torch.equal(leaving.found, found)
        assert torch.equal(leaving.broken, broken)
        assert torch.equal(leaving.open, (~broken).nonzero().flatten())
    assert too_far
    assert 0 < broken.sum() < 8


def test_a_forward_with_none_left_ends_the_attack() -> None:
    x = numbered(3)
    leaving = Leaving(linear, x, (linear(x).argmax(1) + 1) % CLASSES, ball(LINF))
    assert torch.equal(leaving(x), linear(x))
    assert leaving.broken.all()
    with pytest.raises(AllBroken):
        leaving(x)


def test_gradients_flow_to_the_images_that_are_left() -> None:
    x = numbered(4)
    label = linear(x).argmax(1)
    label[1] = (label[1] + 1) % CLASSES
    leaving = Leaving(linear, x, label, ball(LINF))
    leaving(x)
    x_adv = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(leaving(x_adv)[:, 0].sum(), x_adv)
    (whole,) = torch.autograd.grad(linear(x_adv)[:, 0].sum(), x_adv)
    assert torch.equal(grad[[0, 2, 3]], whole[[0, 2, 3]])
    assert not grad[1].any()


@each_threat
@pytest.mark.parametrize("name", ["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t"])
@pytest.mark.parametrize("room", [6, 10_000])
def test_no_attack_shows_an_image_again_that_it_has_broken(threat: Threat, name: str, room: int) -> None:
    x = numbered(6)
    label = linear(x).argmax(1)
    forward, seen = recorded(linear)
    x_adv = perturb(Attack(name, restarts=2 if name == "fab" else 1), block_of(x, threat, forward, room), 0, quiet)
    broken: set[int] = set()
    for shown in seen:
        which = numbers(shown, 6)
        assert not broken & set(which.tolist())
        hit = (linear(shown).argmax(1) != label[which]) & inside(threat, shown, x[which])
        broken |= set(which[hit].tolist())
    assert 0 < len(broken) < 6
    assert broken == set((linear(x_adv).argmax(1) != label).nonzero().flatten().tolist())
    assert inside(threat, x_adv, x).all()


@pytest.mark.parametrize(("classes", "targets"), [(4, 3), (10, 9), (12, 9)])
def test_targeted_attacks_aim_at_up_to_nine_classes(classes: int, targets: int) -> None:
    weight = torch.randn(64, classes, generator=torch.Generator().manual_seed(3))
    x = numbered(1)
    forward, seen = recorded(lambda shown: shown.flatten(1) @ weight)
    label = (x.flatten(1) @ weight).argmax(1)
    for name, calls in (("apgd-t", 101), ("fab-t", 200)):
        perturb(Attack(name), AttackedBlock(forward, x, label, times(LINF, 0.05), classes, 1, Heard()), 0, quiet)
        assert len(seen) == 1 + targets * calls
        seen.clear()


def test_fab_begins_with_every_target_and_ends_with_those_of_the_images_left() -> None:
    x = numbered(6)
    forward, seen = recorded(linear)
    x_adv = perturb(Attack("fab-t"), block_of(x, LINF, forward), 0, quiet)
    left = int((linear(x_adv).argmax(1) == linear(x).argmax(1)).sum())
    ranked, *sizes = map(len, seen)
    assert ranked == 6
    assert (sizes[0], sizes[-1]) == (6 * (CLASSES - 1), left * (CLASSES - 1))
    assert all(size % (CLASSES - 1) == 0 for size in sizes)
    assert len(sizes) == 200


@pytest.mark.parametrize(
    ("shape", "threat"),
    [((8, 1, 8, 8), LINF), ((4, 1, 16, 16), LINF), ((3, 3, 16, 15), times(LINF, 0.5))],
    ids=["tiny", "grey", "colour"],
)
def test_square_ends_where_upstream_does_with_fewer_questions(
    shape: tuple[int, ...], threat: Threat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(square, "QUERIES", 2500)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    forward, seen = recorded(linear)
    theirs = SquareAttack(forward, eps=float(threat.eps), n_queries=square.QUERIES, resc_schedule=False, device="cpu")
    theirs.init_hyperparam(x)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, expected = theirs.attack_single_run(x, linear(x).argmax(1))
    asked = sum(map(len, seen))
    seen.clear()
    x_adv = perturb(Attack("square"), block_of(x, threat, forward), 0, quiet)
    stands = linear(expected).argmax(1) == linear(x).argmax(1)
    assert 0 < stands.sum() < len(x)
    assert torch.equal(x_adv, expected)
    assert sum(map(len, seen)) < asked


@pytest.fixture
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square asks 500 times, not 5,000."""
    for module in (square, attack_sets):
        monkeypatch.setattr(module, "QUERIES", 500)


@each_threat
@each_attack
@pytest.mark.usefixtures("few_queries")
@pytest.mark.parametrize(("count", "factor"), [(1, 0.1), (1, 10), (5, 10)])
def test_images_that_stand_and_images_that_all_break(threat: Threat, attack: Attack, count: int, factor: float) -> None:
    x, threat, shares = numbered(5)[-count:], times(threat, factor), list[float]()
    stream = torch.get_rng_state()
    x_adv = perturb(attack, block_of(x, threat), 0, shares.append)
    assert torch.equal(torch.get_rng_state(), stream)
    broken = linear(x_adv).argmax(1) != linear(x).argmax(1)
    assert broken.tolist() == [factor > 1] * count
    assert inside(threat, x_adv, x).all()
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] <= 1


@pytest.mark.usefixtures("few_queries")
@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "square"])
def test_the_seed_decides(name: str) -> None:
    block = block_of(numbered(4), times(LINF, 3))
    first = perturb(Attack(name), block, 0, quiet)
    torch.manual_seed(99)
    assert torch.equal(first, perturb(Attack(name), block, 0, quiet))
    assert not torch.equal(first, perturb(Attack(name), block, 1, quiet))


class Recording(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return linear(x)


@pytest.mark.usefixtures("few_queries")
@pytest.mark.parametrize("name", ["pgd20", "apgd-ce", "fab-t", "square"])
def test_only_images_that_stand_are_attacked(name: str) -> None:
    x, model = numbered(3), Recording()
    attacked, _ = attacked_model(model, x, linear(x).argmax(1), LINF, num_classes=CLASSES, seed=0, batch_size=3)
    model.seen.clear()
    nobody = attacked.stand(Attack(name), 0, np.array([False, False, False]), quiet)
    assert not nobody.robust.any()
    assert not model.seen
    only = attacked.stand(Attack(name), 0, np.array([False, True, False]), quiet)
    assert not only.robust[[0, 2]].any()
    assert {number for shown in model.seen for number in numbers(shown, 3).tolist()} == {1}


def test_two_classes_that_break_an_image_at_once_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAB-T's pairs write into one image; of several hits exactly one may be taken."""
    x = torch.full((3, 1, 8, 8), 0.5)

    def search(self: object, x: Tensor, label: Tensor, target: Tensor, image: Tensor, start: bool) -> object:
        found = torch.arange(1, len(x) + 1).view(-1, 1, 1, 1).expand_as(x) / 100
        return found, image != 1

    monkeypatch.setattr("robench_fire.evaluation.autoattack.leaving.Fab.search", search)
    x_adv = perturb(Attack("fab-t"), block_of(x, LINF), 0, quiet)
    assert x_adv[:, 0].flatten(1).unique(dim=1).shape[1] == 1
    assert torch.equal(x_adv[0], torch.full((1, 8, 8), 0.01))
    assert torch.equal(x_adv[1], x[1])


def test_a_narrow_misclassification_is_kept_but_does_not_end_the_search() -> None:
    def forward(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0, 0, 0], torch.full((len(x),), 0.5), torch.zeros(len(x))], 1)

    x = torch.full((2, 1, 8, 8), 0.6)
    leaving = Leaving(forward, x, torch.zeros(2, dtype=torch.long), lambda x_adv, x: torch.ones(len(x)).bool())
    narrow = x.clone()
    narrow[0], narrow[1] = 0.5 - 1e-6, 0.4
    leaving(narrow)
    assert leaving.broken.tolist() == [True, True]
    assert leaving.open.tolist() == [0]
    assert torch.equal(leaving.found, narrow)
