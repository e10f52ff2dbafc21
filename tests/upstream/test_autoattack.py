"""AutoAttack: the same images stand as with pyautoattack's own loops, given the same seed and batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from devices import here
from pyautoattack import AutoAttack, checks
from pyautoattack.autopgd_base import APGDAttack
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.evaluation.autoattack import attack_sets, square
from robench_fire.evaluation.autoattack.attack_sets import SETS, Attack, AttackedBlock, Heard, perturb
from robench_fire.evaluation.evaluate import attacks_of
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Splits
from robench_fire.problem.pgd import Pgd, misclassify
from robench_fire.problem.threat import L2, Linf, Threat
from robench_fire.quantity import Quantity

pytestmark = pytest.mark.slow

LINF, L2_BALL = Linf(eps=Quantity("0.15")), L2(eps=Quantity("0.6"))
SEED = 3
TARGETS = 3
ROOMY = 10_000  # every target class of FAB-T at once
STEPS = {"now": 25}  # of APGD and FAB on both sides; 100 in the standard set

each_threat = pytest.mark.parametrize("threat", [LINF, L2_BALL], ids=lambda threat: threat.norm)


class Double(nn.Module):
    """A network that computes in double precision and rounds its logits to single.

    Ours and upstream's show the model batches of different sizes, and float32 sums in another order for each size. Now
    and then that flips the sign of a gradient or a comparison, after which the two runs are strangers. In double
    precision the differences vanish in the rounding, so masks can be compared bit by bit on any machine.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).double()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.double()).float()
        return logits


@pytest.fixture(scope="module")
def plain(small: Splits) -> nn.Module:
    """A network trained for a second, first on clean and then on perturbed digits, so that some images stand."""
    torch.manual_seed(0)
    net = DigitsCNN(width=4)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    attack = Pgd(steps=3, step=Quantity("0.05"), start="uniform")
    generator = torch.Generator().manual_seed(0)
    images, label = to_float(small.train.images), small.train.labels
    for step in range(90):
        x = images if step < 30 else attack(net, misclassify(label), images, Linf(eps=Quantity("0.1")), generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), label).backward()
        optimiser.step()
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model(plain: nn.Module) -> nn.Module:
    return Double(plain)


@pytest.fixture(scope="module")
def more(small: Splits) -> tuple[Tensor, Tensor]:
    """40 images and their labels."""
    return to_float(small.test.images)[:40], small.test.labels[:40]


@pytest.fixture(scope="module")
def digits(small: Splits) -> tuple[Tensor, Tensor]:
    """16 images and their labels, of which two are wrong."""
    x, label = to_float(small.test.images)[:16], small.test.labels[:16].clone()
    label[[1, 15]] = (label[[1, 15]] + 1) % 10
    return x, label


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square asks less on both sides, and all take fewer steps, but where a test says so.

    Upstream's check for dynamic defenses would take a debugger's trace function.
    """
    for module in (square, attack_sets):
        monkeypatch.setattr(module, "QUERIES", 600)
    monkeypatch.setattr(attack_sets, "_upstream_fab", lambda attacked, forward: attack_sets.Fab(
        forward, attacked.inside, attacked.num_classes, n_iter=STEPS["now"], **attacked.shared))  # fmt: skip
    monkeypatch.setattr(checks, "check_dynamic", lambda *args, **kwargs: None)


@pytest.fixture
def few_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours aims at as many classes; the standard set is compared with all nine."""
    monkeypatch.setattr(AttackedBlock, "targets", property(lambda attacked: range(2, 2 + TARGETS)))


def upstream(
    model: nn.Module,
    x: Tensor,
    label: Tensor,
    threat: Threat,
    version: str,
    *names: str,
    targets: int = 9,
    **restarts: int,
) -> Tensor:
    """(N,) whether each image stands pyautoattack, all in one batch; ``restarts`` by attack."""
    model, x, label = copy.deepcopy(model).to(here()), x.to(here()), label.to(here())
    theirs = AutoAttack(
        model, attacks=list(names) or None, eps=float(threat.eps), norm=threat.norm, seed=SEED, version=version,
        device=str(here()),
    )  # fmt: skip
    theirs.square.n_queries = square.QUERIES
    for each in (theirs.apgd, theirs.apgd_targeted):  # as their constructor does with 100
        each.n_iter = STEPS["now"]
        each.n_iter_2, each.n_iter_min, each.size_decr = (max(int(x * STEPS["now"]), 1) for x in (0.22, 0.06, 0.03))
    theirs.fab.n_iter = STEPS["now"]
    theirs.fab.n_target_classes = theirs.apgd_targeted.n_target_classes = targets
    for attack, number in restarts.items():
        getattr(theirs, attack).n_restarts = number
    with torch.random.fork_rng():
        x_adv, _ = theirs.run_standard_evaluation(x, label, batch_size=len(x))
    return model(x_adv.to(here())).argmax(1) == label


def ours(
    model: nn.Module, x: Tensor, label: Tensor, threat: Threat, attacks: Sequence[Attack], room: int = ROOMY
) -> Tensor:
    """(N,) whether each image stands the attacks one after the other."""
    model, x, label = copy.deepcopy(model).to(here()), x.to(here()), label.to(here())
    stands = model(x).argmax(1) == label
    for attack in attacks:
        left = stands.nonzero().flatten()
        if len(left):
            classes = model(x[:1]).shape[1]
            attacked = AttackedBlock(model, x[left], label[left], threat, classes, room, Heard())
            x_adv = perturb(replace(attack, steps=STEPS["now"]), attacked, SEED, lambda done: None)
            stands[left] = model(x_adv).argmax(1) == label[left]
    return stands


@pytest.mark.usefixtures("device")
@each_threat
@pytest.mark.parametrize(
    ("name", "restarts"),
    [("apgd-ce", 1), ("apgd-ce", 3), ("apgd-dlr", 1), ("apgd-t", 1), ("fab", 1), ("square", 1)],
)
def test_each_attack(model: nn.Module, digits: tuple[Tensor, Tensor], threat: Threat, name: str, restarts: int) -> None:
    expected = upstream(model, *digits, threat, "custom", name, apgd=restarts, fab=restarts)
    assert expected.tolist() == ours(model, *digits, threat, [Attack(name, restarts=restarts)]).tolist()
    assert 0 < expected.sum() < 14


@pytest.mark.parametrize("threat", [Linf(eps=Quantity("0.2")), L2(eps=Quantity("0.8"))], ids=lambda threat: threat.norm)
def test_restarts_of_fab(model: nn.Module, more: tuple[Tensor, Tensor], threat: Threat) -> None:
    once, thrice = (upstream(model, *more, threat, "custom", "fab", fab=restarts) for restarts in (1, 3))
    assert 0 < thrice.sum() < once.sum()
    assert thrice.tolist() == ours(model, *more, threat, [Attack("fab", restarts=3)]).tolist()


@each_threat
@pytest.mark.usefixtures("few_targets")
def test_fab_t_however_many_target_classes_at_once(
    model: nn.Module, digits: tuple[Tensor, Tensor], threat: Threat
) -> None:
    expected = upstream(model, *digits, threat, "custom", "fab-t", targets=TARGETS)
    assert 0 < expected.sum() < 14
    for room in (len(digits[0]), 40, ROOMY):
        assert expected.tolist() == ours(model, *digits, threat, SETS["fab-t"], room).tolist()


@pytest.mark.usefixtures("device")
@each_threat
def test_the_standard_set(
    model: nn.Module, digits: tuple[Tensor, Tensor], threat: Threat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, "now", 100)
    expected = upstream(model, *digits, threat, "standard")
    assert expected.tolist() == ours(model, *digits, threat, SETS["aa"]).tolist()
    assert 0 < expected.sum() < 14


@pytest.mark.parametrize(("name", "version", "few"), [("aa-plus", "plus", 8), ("aa-rand", "rand", 8)])
@pytest.mark.usefixtures("few_targets")
def test_the_other_sets(model: nn.Module, digits: tuple[Tensor, Tensor], name: str, version: str, few: int) -> None:
    x, label = (each[:few] for each in digits)
    expected = upstream(model, x, label, LINF, version, targets=TARGETS)
    assert expected.tolist() == ours(model, x, label, LINF, SETS[name]).tolist()
    assert 0 < expected.sum() < few - 1


class First(nn.Module):
    """Only the logits of the first classes."""

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)[:, : self.classes]
        return logits


@each_threat
@pytest.mark.parametrize(
    ("classes", "names"), [(2, ("apgd-ce", "fab-t", "square")), (3, ("apgd-ce", "apgd-dlr", "fab-t", "square"))]
)
def test_the_standard_set_on_few_classes(
    model: nn.Module, small: Splits, threat: Threat, classes: int, names: tuple[str, ...]
) -> None:
    """Where the DLR losses are not defined; what upstream then warns of is not among the attacks.

    With as many restarts as the standard version makes: "custom" leaves them at five.
    """
    mine = small.test.labels < classes
    x, label = to_float(small.test.images[mine]), small.test.labels[mine]
    attacks, net, left = attacks_of("aa", classes), First(model, classes), []
    assert tuple(each.name for each in attacks) == names
    for factor in (1.2, 1.6, 2.0):  # few classes are far apart
        wider = replace(threat, eps=Quantity(factor * float(threat.eps)))  # type: ignore[type-var]
        expected = upstream(net, x, label, wider, "custom", *names, targets=classes - 1, apgd=1, fab=1)
        assert expected.tolist() == ours(net, x, label, wider, attacks).tolist()
        left.append(int(expected.sum()))
    assert 0 < left[0] < len(label)
    assert left == sorted(left, reverse=True)


def test_a_randomised_model_is_asked_in_the_same_order(model: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    def noisy(x: Tensor) -> Tensor:
        logits: Tensor = model(x + 0.01 * torch.randn_like(x))
        return logits

    x, label = (each[2:10] for each in digits)
    theirs = APGDAttack(noisy, eps=float(LINF.eps), eot_iter=5, seed=SEED, device="cpu")
    with torch.random.fork_rng():
        expected = theirs.perturb(x, label)
    attacked = AttackedBlock(noisy, x, label, LINF, 10, ROOMY, Heard())
    found = perturb(Attack("apgd-ce", samples=5), attacked, SEED, lambda done: None)
    assert torch.equal(found, expected)
    assert 0 < (found != x).flatten(1).any(1).sum() < 8


@pytest.mark.usefixtures("few_targets")
def test_single_precision_shifts_next_to_nothing(plain: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    expected = upstream(plain, *digits, LINF, "standard", targets=TARGETS)
    assert (expected != ours(plain, *digits, LINF, SETS["aa"])).sum() <= 1
