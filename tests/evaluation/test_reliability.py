"""The verdict on a result: masked gradients are found out, honest models are believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluated_models import evaluate
from masked_models import SMALL, TRANSFER, attacked, quiet, taught
from torch import Tensor, nn

from robench_fire.datasets import digits
from robench_fire.evaluation import reliability, reliability_text
from robench_fire.evaluation.evaluate import SQUARE, Result, result
from robench_fire.evaluation.record import Block, Record
from robench_fire.evaluation.reliability import Check
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Split, Splits

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("brief_attacks")]

OWN, RADIUS = "AutoAttack's own checks", "accuracy reaches 0 as eps grows"


STEPS, NOISE = "more steps do not help the defense", "random noise is weaker than PGD"


class Quantised(nn.Module):
    """Rounds its images: no gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        return taught(0)((x * 4).round() / 4)  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """Is so sure of everything that cross-entropy has no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return 1e6 * taught(0)(x)  # type: ignore[no-any-return]


class Reversed(nn.Module):
    """Its gradient leads the wrong way."""

    class _Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return -gradient

    def forward(self, x: Tensor) -> Tensor:
        return taught(0)(self._Reverse.apply(x))  # type: ignore[no-any-return, no-untyped-call]


def masks(attack: str, model: nn.Module, split: Split) -> Result:
    return evaluate(attack, model, split, SMALL, num_classes=10, seed=0, batch_size=64, report=quiet)


def judged(attack: str, model: nn.Module, split: Split, eps: str = "0.1") -> dict[str, Any]:
    """The verdict where nothing stands, which only the images' and the model's own properties decide."""
    ring, flags = attacked(model, split, eps)
    clean = ring.correct(ring.images, ring.labels)
    return reliability.judged(attack, ring, clean, torch.zeros_like(clean), flags, [])


def failed(checks: list[Check]) -> list[str]:
    return [each.name for each in checks if each.passed is False]


def said(found: Result) -> list[str]:
    return reliability_text.signs({"flags": found.flags, "after": found.after, "examples": len(found.clean)})


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        (Quantised, ["a gradient of exactly 0", "PGD-50 leaves", "which holds every image; gradients may be masked"]),
        (Scaled, ["PGD-50 leaves"]),
    ],
)
def test_masked_gradients_make_a_result_unreliable(
    model: Callable[[], nn.Module], reasons: list[str], small: Splits
) -> None:
    few = small.test.take(slice(40))
    found = masks("aa", model(), few)
    assert found.after["apgd-ce"] > found.after["square"] + 10
    clean, robust = torch.from_numpy(found.clean), torch.from_numpy(found.robust)
    verdict = reliability.judged("aa", attacked(model(), few)[0], clean, robust, said(found), [])
    assert verdict["verdict"] == "unreliable"
    assert all(reason in "; ".join(verdict["reasons"]) for reason in reasons)
    failures = [each["name"] for each in verdict["checks"] if each["passed"] is False]
    assert len(verdict["reasons"]) == len(failures) + 1  # and that there was no other seed


@pytest.mark.parametrize("adversarial", [False, True])
def test_an_honest_model_is_reliable(adversarial: bool, small: Splits) -> None:
    few = small.test.take(slice(40))
    found = masks("aa", taught(0, adversarial), few)
    assert found.flags == []
    assert bool(found.robust.mean() > 0.7) == adversarial
    ring, _ = attacked(taught(0, adversarial), few)
    clean, robust = torch.from_numpy(found.clean), torch.from_numpy(found.robust)
    verdict = reliability.judged("aa", ring, clean, robust, found.flags, [])
    assert verdict["verdict"] == "reliable"
    assert verdict["reasons"] == [f"{TRANSFER}: not checked, no other seed of this defense is trained"]
    assert [each["name"] for each in verdict["checks"]] == [OWN, RADIUS, STEPS, NOISE, TRANSFER]
    verdict = reliability.judged("aa", ring, clean, robust, found.flags, [taught(1, adversarial)])
    assert (verdict["verdict"], verdict["reasons"]) == ("reliable", [])


@pytest.mark.parametrize(
    ("attack", "eps", "images", "reason"),
    [
        ("pgd20", "0.1", 64, "a complete AutoAttack: not checked, pgd20 alone says little; use aa or aa-plus"),
        ("square", "0.1", 64, "a complete AutoAttack: not checked, square alone"),
        ("aa-rand", "0.1", 64, "a complete AutoAttack: not checked, aa-rand alone"),
        ("aa", "0", 64, "a radius above 0: not checked, eps is 0"),
        ("aa", "0.1", 19, "enough images: not checked, 19 are classified correctly, 20 are needed"),
    ],
)
def test_what_cannot_be_judged_is_unknown(attack: str, eps: str, images: int, reason: str, small: Splits) -> None:
    verdict = judged(attack, taught(0), small.test.take(slice(images)), eps)
    assert verdict["verdict"] == "unknown"
    (found,) = verdict["reasons"]
    assert found.startswith(reason)


def test_a_flag_is_enough_where_nothing_else_can_be_judged(small: Splits) -> None:
    few = attacked(taught(0), small.test.take(slice(2)))[0]
    signs = reliability_text.signs({"flags": ["randomised"]})
    verdict = reliability.judged("pgd20", few, torch.ones(2), torch.ones(2), signs, [])
    assert verdict["verdict"] == "unreliable"
    assert verdict["reasons"][0].startswith("two passes over the same images gave different logits")


def test_a_model_near_chance_is_never_reliable() -> None:
    torch.manual_seed(0)
    verdict = judged("aa", DigitsCNN().eval(), digits.DATASET.splits(Path()).test)
    assert verdict["verdict"] in ("unknown", "unreliable")
    assert any(reason.startswith("clean accuracy is above chance: not checked") for reason in verdict["reasons"])


@pytest.mark.parametrize(("classes", "enough"), [(2, 60), (3, 44), (4, 35), (10, 20), (100, 2)])
def test_what_is_near_chance(classes: int, enough: float) -> None:
    """Below twice chance, or ten points above it: of two classes nothing is twice as likely as chance but certainty."""
    assert reliability._chance(enough, classes) == []
    assert reliability._chance(enough - 1.5, classes) != []


def test_an_accuracy_that_stays_is_found(small: Splits) -> None:
    assert reliability._radius(attacked(taught(0), small.test)[0]).passed
    found = reliability._radius(attacked(Quantised(), small.test)[0])
    assert not found.passed
    assert "at eps 1" in found.found


@pytest.mark.parametrize(
    ("helped", "hurt", "passed"), [(0, 0, True), (3, 0, True), (7, 0, False), (20, 20, True), (20, 5, False)]
)
def test_steps_that_help_the_defense_are_found_beyond_noise(helped: int, hurt: int, passed: bool) -> None:
    weak, strong = torch.ones(60, dtype=torch.bool), torch.ones(60, dtype=torch.bool)
    weak[:helped], strong[60 - hurt :] = False, False
    found = reliability._steps(weak, strong)
    assert (found.name, found.passed) == (STEPS, passed)
    assert found.found == f"10 steps of PGD broke {helped} images that 100 steps did not ({hurt} the other way), of 60"


def test_noise_that_beats_the_gradient_is_found(small: Splits) -> None:
    nothing = torch.zeros(64, dtype=torch.bool)
    assert failed(reliability.battery(attacked(taught(0), small.test, "0.4")[0], nothing, [])) == []
    found = reliability.battery(attacked(Reversed(), small.test, "0.4")[0], nothing, [])
    assert failed(found) == [RADIUS, NOISE]


def test_a_transfer_that_beats_the_white_box_is_found(small: Splits) -> None:
    missed = masks("apgd-ce", Quantised(), small.test)
    assert missed.robust.mean() > 0.9
    ring, robust = attacked(Quantised(), small.test)[0], torch.from_numpy(missed.robust)
    found = {each.name: each for each in reliability.battery(ring, robust, [taught(1), taught(0)])}[TRANSFER]
    assert found.passed is False
    assert "on 2 other seeds" in found.found
    assert reliability._transfer(ring, torch.zeros_like(robust), [taught(0)]).passed  # nothing was missed


@pytest.mark.parametrize(
    ("images", "broken", "raised"), [(64, 2, False), (64, 3, True), (2000, 4, False), (2000, 5, True)]
)
def test_square_is_flagged_beyond_two_in_a_thousand_and_two_images(images: int, broken: int, raised: bool) -> None:
    def left(count: int) -> np.ndarray:
        return np.arange(images) < count

    def found(**after: int) -> list[str]:
        named = {name.replace("_", "-"): left(count) for name, count in after.items()}
        return result(Record({}, blocks={0: Block(left(images), named, dict.fromkeys(named, 0.0))})).flags

    stand = images // 2
    assert (SQUARE in found(apgd_ce=images, apgd_t=images, fab_t=stand, square=stand - broken)) == raised
    assert SQUARE not in found(apgd_ce=images, fab=stand, square=stand - broken, apgd_t=0)  # white-box goes on
    assert found(square=0) == []


def test_what_square_broke_is_named_wherever_it_stands() -> None:
    """An attack of a user's own may come after it."""
    after = {"apgd-ce": 60.0, "fab-t": 50.0, "square": 40.0, "climb": 40.0}
    assert "broke 2 of 10 images that the gradient attacks left" in reliability_text.sentence(SQUARE, after, 20)
    assert "broke images that" in reliability_text.sentence(SQUARE, {"square": 40.0}, 20)


def test_a_radius_holds_every_image_where_it_does(small: Splits) -> None:
    found = reliability._radius(attacked(taught(0), small.test.take(slice(40)))[0])
    assert (found.passed, found.found) == (True, "PGD-50 leaves 0 of 40 images at eps 0.2")
    held = reliability._radius(attacked(Quantised(), small.test.take(slice(40)))[0])
    assert held.found.endswith("at eps 1, which holds every image")
