"""What is there after ``import robench_fire as rb`` alone, and what that costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import robench_fire as rb
from robench_fire.api.speaking import pairs, reworded
from robench_fire.problem import registry

HEAVY = ("torch", "pandas", "numpy", "scipy", "rich")


def alone(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    lines = "import sys, robench_fire as rb; dir(rb); rb.RobenchError; rb.list_defenses(); rb.list_datasets()"
    assert alone(f"{lines}; print([name for name in {HEAVY} if name in sys.modules])") == "[]\n"


def test_modules_are_there_after_the_import() -> None:
    code = "import robench_fire as rb; print(rb.losses.squared_fisher_rao.__name__, rb.attacks.pgd.__name__)"
    assert alone(code) == "squared_fisher_rao pgd\n"


def test_lists() -> None:
    assert list(rb.list_defenses()) == list(registry.names("defenses"))
    assert rb.list_datasets()["digits"].startswith("Digits: 1,797")
    assert "wrn-34-10" in rb.list_architectures()["wrn-D-W"]


@pytest.mark.parametrize("threat", [rb.Linf("0.1"), rb.L2(0.5)])
def test_pgd_is_an_attack(threat: rb.Threat, model: nn.Module, x: Tensor, y: Tensor) -> None:
    model = model.train()
    perturbed = rb.attacks.pgd(model, x, y, threat, batch_size=50)
    assert model.training
    assert perturbed.shape == x.shape
    assert (threat.distance(perturbed, x) <= threat.eps + 1e-6).all()
    assert 0 <= perturbed.min() <= perturbed.max() <= 1
    assert torch.equal(perturbed, rb.attacks.pgd(model, x, y, threat, batch_size=50))
    assert not torch.equal(perturbed, rb.attacks.pgd(model, x, y, threat, batch_size=50, seed=1))
    assert torch.equal(rb.attacks.pgd(model, x, y, rb.Linf(0)), x)  # where a curve over radii begins
    model.eval()
    with torch.no_grad():
        assert (model(perturbed).argmax(1) == y).sum() < (model(x).argmax(1) == y).sum()


def test_one_step_of_the_radius_is_fgsm(model: nn.Module, x: Tensor, y: Tensor) -> None:
    at = x.clone().requires_grad_()
    nn.functional.cross_entropy(model.eval()(at), y, reduction="sum").backward()
    assert at.grad is not None
    known = (x + 0.1 * at.grad.sign()).clamp(0, 1)
    found = rb.attacks.pgd(model, x, y, rb.Linf("0.1"), steps=1, step="0.1", start="zero")
    assert torch.allclose(found, known, atol=1e-6)


def test_attacks_that_cannot_be() -> None:
    x, y = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    for options, said in (
        ({"steps": 0}, "steps 0, batch_size 500: each must be at least 1"),
        ({"step": "far"}, "'far' is not a number"),
        ({"step": 0}, "a step must be positive"),
        ({"start": "random"}, "unknown start 'random'"),
    ):
        with pytest.raises(rb.RobenchError, match=said):
            rb.attacks.pgd(lambda images: images.flatten(1)[:, :4], x, y, rb.Linf("0.1"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("--extra-data and --hide-labels: choose one", "extra_data and hide_labels: choose one"),
        ("add one: `robench eval RUN --eps 0.1`", "add one: `robench eval RUN --eps 0.1`"),
        ("use --attack pgd20, or --no-eval", "use attacks pgd20, or attacks=()"),
        ("a -- b, x--y; the same command continues", "a -- b, x--y; the same call continues"),
    ],
)
def test_errors_name_arguments(command: str, call: str) -> None:
    assert reworded(command) == call


def test_settings_are_written_as_on_a_command_line() -> None:
    given = {"defense.lam": 6, "recipe.extra": None, "recipe.augment.flip": True, "recipe.passes": ("clean", "adv")}
    assert pairs(given) == [
        ("defense.lam", "6"), ("recipe.extra", "none"), ("recipe.augment.flip", "true"), ("recipe.passes", "clean,adv"),
    ]  # fmt: skip
