"""Evaluation: masks, the attacks' meaning, and bad images or models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robench_fire import autoattack
from robench_fire.data import to_float
from robench_fire.dataset import Split, Splits
from robench_fire.errors import DataError
from robench_fire.evaluate import Result, checked, evaluate, percent
from robench_fire.models.digits_cnn import DigitsCNN
from robench_fire.quantity import Quantity
from robench_fire.reporting import silent
from robench_fire.threat import L2, Linf, Threat

SMALL = Linf(eps=Quantity("0.1"))


@pytest.fixture(scope="module")
def model(small: Splits) -> nn.Module:
    """A network trained for a second on clean digits."""
    torch.manual_seed(0)
    net = DigitsCNN()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(to_float(small.train.images)), small.train.labels).backward()
        optimiser.step()
    return net


def run(attack: str, model: nn.Module, split: Split, threat: Threat = SMALL, seed: int = 0, batch: int = 64) -> Result:
    return evaluate(attack, model, split, threat, num_classes=10, seed=seed, batch_size=batch, progress=silent)


def test_autoattack_is_stronger_than_pgd_and_both_only_count_correct_images(model: nn.Module, small: Splits) -> None:
    pgd, aa = run("pgd20", model, small.test), run("aa", model, small.test)
    assert 80 < percent(pgd.clean) <= 100
    assert torch.equal(pgd.clean, aa.clean)
    assert not (pgd.robust & ~pgd.clean).any()
    assert not (aa.robust & ~aa.clean).any()
    assert percent(aa.robust) < percent(pgd.clean)
    assert int(aa.robust.sum()) <= int(pgd.robust.sum()) + 1
    assert list(aa.after) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert sorted(aa.after.values(), reverse=True) == list(aa.after.values())
    assert aa.after["square"] == percent(aa.robust)


def test_the_same_seed_gives_the_same_mask(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(12))
    assert torch.equal(run("aa", model, few).robust, run("aa", model, few).robust)
    assert torch.equal(run("pgd20", model, few).robust, run("pgd20", model, few).robust)


def test_evaluation_leaves_model_and_generators_alone(model: nn.Module, small: Splits) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run("aa", model, small.test.take(slice(8)))
    assert torch.equal(torch.rand(2), expected)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_larger_radius_breaks_more(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(16))
    robust = [percent(run("aa", model, few, Linf(eps=Quantity(eps))).robust) for eps in ("0.02", "0.1", "0.9")]
    assert robust == sorted(robust, reverse=True)
    assert robust[-1] == 0


def test_radius_zero_is_clean_accuracy(model: nn.Module, small: Splits) -> None:
    result = run("pgd20", model, small.test, Linf(eps=Quantity("0")))
    assert torch.equal(result.robust, result.clean)


def test_l2(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(16))
    weak, strong = (percent(run("aa", model, few, L2(eps=Quantity(eps))).robust) for eps in ("0.05", "2"))
    assert weak > strong


def test_a_perturbation_outside_the_ball_does_not_count(model: nn.Module, small: Splits) -> None:
    class Cheats:
        def perturb(self, x: Tensor, label: Tensor) -> Tensor:
            return 1 - x

    x, label = to_float(small.test.images[:16]), small.test.labels[:16]
    model.eval()
    kept = autoattack._withstands(Cheats(), model, x, label, SMALL)
    assert kept.all()
    assert not autoattack._withstands(Cheats(), model, x, label, Linf(eps=Quantity("1"))).all()


@pytest.mark.parametrize(("shift", "fine"), [(0.0, True), (1e-7, True), (1e-3, False), (float("nan"), False)])
def test_images_outside_the_unit_range(shift: float, fine: bool) -> None:
    images = torch.rand(2, 1, 8, 8)
    images[0, 0, 0, 0] = 1 + shift
    if fine:
        assert checked(images).max() <= 1
    else:
        with pytest.raises(DataError, match=r"\[0, 1\]"):
            checked(images)


def test_a_model_that_returns_nan_is_named(small: Splits) -> None:
    class Broken(DigitsCNN):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * float("nan")

    with pytest.raises(DataError, match="not finite"):
        run("pgd20", Broken(), small.test)


def flags(model: nn.Module, split: Split) -> list[str]:
    return run("aa", model, split.take(slice(6))).flags


def test_a_plain_model_has_no_flags(model: nn.Module, small: Splits) -> None:
    assert flags(model, small.test) == []


def test_probabilities_and_randomness_are_flagged(model: nn.Module, small: Splits) -> None:
    class Probabilities(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x).softmax(1)  # type: ignore[no-any-return]

    class Random(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x) + 0.1 * torch.rand(len(x), 1)  # type: ignore[no-any-return]

    assert "probabilities instead of logits" in flags(Probabilities(), small.test)
    assert "randomised" in flags(Random(), small.test)


def test_gradient_masking_is_flagged(model: nn.Module, small: Splits) -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model((x * 8).round() / 8)  # type: ignore[no-any-return]

    assert "zero gradients" in flags(Masked(), small.test)


def test_fewer_than_four_classes_are_refused_before_any_work() -> None:
    from dataclasses import replace
    from pathlib import Path

    from robench_fire.datasets import digits
    from robench_fire.errors import UsageError
    from robench_fire.reporting import Report
    from robench_fire.subjects import Evaluations, Subject, evaluate_subject

    class Three(Subject):
        def parts(self) -> object:  # type: ignore[override]
            return replace(digits.DATASET, num_classes=3)

    subject = Three(
        weights=Path("none"), stem=Path("none"), dataset="three", arch="digits-cnn", normalise="none", claim=SMALL
    )
    report: Report = lambda stage, done, total, note: None  # noqa: E731
    with pytest.raises(UsageError, match="at least 4 classes"):
        evaluate_subject(subject, Split(torch.zeros(0), torch.zeros(0)), Evaluations(), torch.device("cpu"), report)
