"""Evaluation: masks, the attacks' meaning, flags."""

from __future__ import annotations

import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from evaluated_models import SMALL, run
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.evaluation.autoattack.attack_sets import inside
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel
from robench_fire.problem.dataset import Split, Splits
from robench_fire.problem.threat import L2, Linf
from robench_fire.quantity import Quantity
from robench_fire.statistics.summary import percent

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("brief_attacks")]


def test_autoattack_is_stronger_than_pgd_and_both_only_count_correct_images(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(32))
    pgd, aa = run("pgd20", model, few), run("aa", model, few)
    assert 80 < percent(pgd.clean) <= 100
    assert np.array_equal(pgd.clean, aa.clean)
    assert not (pgd.robust & ~pgd.clean).any()
    assert not (aa.robust & ~aa.clean).any()
    assert percent(aa.robust) < percent(pgd.clean)
    assert int(aa.robust.sum()) <= int(pgd.robust.sum()) + 1
    assert list(aa.after) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert sorted(aa.after.values(), reverse=True) == list(aa.after.values())
    assert aa.after["square"] == percent(aa.robust)


def test_plain_attacks_from_weak_to_strong(model: nn.Module, small: Splits) -> None:
    found = {name: run(name, model, small.test) for name in ("fgsm", "pgd20", "pgd20-cw", "aa")}
    left = {name: int(each.robust.sum()) for name, each in found.items()}
    assert left["aa"] <= min(left.values())
    assert left["pgd20"] <= left["fgsm"] < int(found["fgsm"].clean.sum())
    assert all(list(each.after) == [name] for name, each in found.items() if name != "aa")


def test_fgsm_is_one_step_of_the_radius_along_the_sign(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(16))
    x = to_float(few.images).requires_grad_()
    model.eval()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), few.labels, reduction="sum"), x)
    moved = (x + float(SMALL.eps) * gradient.sign()).clamp(0, 1)
    with torch.no_grad():
        robust = (model(x).argmax(1) == few.labels) & (model(moved).argmax(1) == few.labels)
    assert np.array_equal(run("fgsm", model, few).robust, robust.numpy())


def test_the_same_seed_gives_the_same_mask(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(6))
    assert np.array_equal(run("aa", model, few).robust, run("aa", model, few).robust)
    assert np.array_equal(run("pgd20", model, few).robust, run("pgd20", model, few).robust)


def test_evaluation_leaves_model_and_generators_alone(model: nn.Module, small: Splits) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run("aa", model, small.test.take(slice(4)))
    assert torch.equal(torch.rand(2), expected)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_larger_radius_breaks_more(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(8))
    robust = [percent(run("aa", model, few, Linf(eps=Quantity(eps))).robust) for eps in ("0.02", "0.1", "0.9")]
    assert robust == sorted(robust, reverse=True)
    assert robust[-1] == 0


@pytest.mark.parametrize("attack", ["pgd20", "aa"])
def test_radius_zero_is_clean_accuracy_without_an_attack(
    attack: str, model: nn.Module, small: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attacked(*_: object) -> None:
        raise AssertionError("nothing is to be attacked")

    monkeypatch.setattr(AttackedModel, "_perturbed", attacked)
    result = run(attack, model, small.test, Linf(eps=Quantity("0")))
    assert np.array_equal(result.robust, result.clean)
    assert result.clean.any()
    assert result.largest == 0


def test_l2(model: nn.Module, small: Splits) -> None:
    few = small.test.take(slice(16))
    weak, strong = (percent(run("aa", model, few, L2(eps=Quantity(eps))).robust) for eps in ("0.05", "2"))
    assert weak > strong


def test_only_what_the_threat_model_allows_counts() -> None:
    x = torch.full((4, 1, 8, 8), 0.5)
    x_adv = x.clone()
    x_adv[0] += 0.1
    x_adv[1, 0, 0, 0] += 0.101
    x_adv[2] = 0.0
    x_adv[3, 0, 0, 0] = -1e-3
    assert inside(SMALL, x_adv, x).tolist() == [True, False, False, False]
    assert inside(Linf(eps=Quantity("1")), x_adv, x).tolist() == [True, True, True, False]
    assert inside(L2(eps=Quantity("0.101")), x_adv, x).tolist() == [False, True, False, False]


def flags(model: nn.Module, split: Split) -> list[str]:
    return run("aa", model, split.take(slice(3))).flags


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


@pytest.mark.parametrize("attack", ["pgd20", "aa"])
def test_a_single_image_is_enough(attack: str, model: nn.Module, small: Splits) -> None:
    result = run(attack, model, small.test.take(slice(1)))
    assert result.clean.tolist() == [True]
    assert result.robust.shape == (1,)


def test_a_model_in_training_mode_is_evaluated_in_evaluation_mode(model: nn.Module, small: Splits) -> None:
    net = nn.Sequential(deepcopy(model), nn.Dropout(0.5))
    expected = run("apgd-ce", net.eval(), small.test)
    net.train()
    net[0].features[1].eval()
    modes = [module.training for module in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = run("apgd-ce", net, small.test)
    assert np.array_equal(found.clean, expected.clean)
    assert np.array_equal(found.robust, expected.robust)
    assert 0 < percent(found.robust) < percent(found.clean)
    assert found.flags == []
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes


def test_a_model_that_uses_gradients_is_flagged_and_the_next_one_is_not(model: nn.Module, small: Splits) -> None:
    class Dynamic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                start = x.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(model(start).logsumexp(1).sum(), start)
            return model(x + 0.01 * gradient.sign())  # type: ignore[no-any-return]

    def mine(*_: object) -> None:
        pass

    few, tracing = small.test.take(slice(6)), sys.gettrace()
    sys.setprofile(mine)
    try:
        found = run("pgd20", Dynamic(), few).flags
        left = sys.getprofile()
    finally:
        sys.setprofile(None)
    assert found == ["dynamic"]
    assert left is mine
    assert sys.gettrace() is tracing
    assert run("pgd20", model, few).flags == []
    assert sys.getprofile() is None
