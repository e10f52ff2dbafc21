"""Attacks of a user's own: what they may do and return, each fault in one line, and the same masks after a resume."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_attacks import CLIMB, noise, written
from torch import Tensor, nn

import robench_fire as rb
from robench_fire.data.batches import to_float
from robench_fire.errors import RecipeError, UsageError
from robench_fire.evaluation.own_attacks.attack import given, named
from robench_fire.problem.dataset import Splits

BALL = rb.Linf("0.2")
Attack = Callable[[nn.Module, Tensor, Tensor, float], Any]


@pytest.fixture
def attacked(model: nn.Module, small: Splits) -> Callable[..., rb.Evaluation]:
    """Of 64 images the first four have other labels than they should."""
    x, y = to_float(small.test.images), small.test.labels.clone()
    y[:4] = (y[:4] + 1) % 10

    def run(attack: Any, threat: rb.Threat = BALL, of: Any = model, **options: Any) -> rb.Evaluation:
        given = {"batch_size": 20, "progress": False, **options}
        return rb.evaluate(of, x, y, threat=threat, attacks=attack, **given)

    return run


def test_it_gets_correct_images_in_batches_and_gradients_of_them(attacked: Callable[..., rb.Evaluation]) -> None:
    met: list[tuple[int, bool, float]] = []

    def step(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        x = x.clone().requires_grad_()
        logits = model(x)
        met.append((len(x), bool((logits.argmax(1) == y).all()), eps))
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y, reduction="sum"), x)
        return (x + eps * gradient.sign()).clamp(0, 1)

    found = attacked(step)
    assert sum(count for count, _, _ in met) == found.clean.sum() < len(found.clean)
    assert [each[1:] for each in met] == [(True, 0.2)] * 4
    assert list(found.after) == ["step"]
    assert (found.robust == attacked("fgsm").robust).all()
    assert found.facts["uncounted"]["outside"] == 0


def test_what_the_threat_model_does_not_allow_does_not_count(attacked: Callable[..., rb.Evaluation]) -> None:
    def unruly(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        x = torch.rand_like(x)
        x[1, 0, 0, 0], x[2, 0, 0, 0] = 3, torch.nan
        return x

    found = attacked(unruly)
    assert (found.robust == found.clean).all()
    told = found.facts["uncounted"]
    assert (told["attacked"], told["beyond"], told["excess"], told["not_finite"]) == (found.clean.sum(), 4, 2.0, 4)
    assert told["outside"] == told["attacked"] - 4
    assert 0.5 < told["farthest"] < 3.1


def test_the_ball_is_taken_up_to_rounding(attacked: Callable[..., rb.Evaluation]) -> None:
    for threat, scale in ((rb.L2(1.0), 1 + 1e-6), (rb.L2(1.0), 1 + 1e-3)):

        def edge(model: nn.Module, x: Tensor, y: Tensor, eps: float, scale: float = scale) -> Tensor:
            other = x.flip(0) - x
            length = other.flatten(1).norm(dim=1).clamp_min(1e-9).view(-1, 1, 1, 1)
            return (x + other / length * eps * scale).clamp(0, 1)

        assert (attacked(edge, threat).facts["uncounted"]["outside"] == 0) == (scale < 1.0001)


def changes_labels(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    y += 1
    return x


def trains(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    model.train()
    return x


def moves(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    return x


def passes(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    model.train()
    model(x)
    model.eval()
    return x


def opens(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    model.requires_grad_(True)
    model(x).sum().backward()
    return x


def hooks(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    next(model.children()).register_forward_hook(lambda *_: None)
    return x


def fails(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    return torch.zeros(2) + torch.zeros(3)


def deeper(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
    return model(x.flatten(1))


def result(value: Any) -> Attack:
    def returning(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Any:
        return value(x)

    return returning


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (changes_labels, r"changes_labels: changes the labels that it is given; work on y.clone\(\)"),
        (trains, "trains: changes the model's mode"),
        (moves, r"moves: changes the model's weights \(\S+weight, of 1\)"),
        (passes, r"passes: changes the model's weights \(\S+running_mean, of \d+\)"),
        (opens, r"opens: leaves gradients on for the model's weights \(\S+, of \d+\)"),
        (hooks, "hooks: leaves a hook on the model"),
        (fails, r"test_own_attacks.py:\d+, fails: RuntimeError: The size of tensor a"),
        (deeper, r"test_own_attacks.py:\d+, deeper: RuntimeError: "),
        (result(lambda x: None), "returning: returns nothing; return a torch tensor"),
        (result(lambda x: x.numpy()), "returning: returns a ndarray; return a torch tensor"),
        (result(lambda x: (x, x, x)), r"returning: returns a tuple of 3 \(Tensor, Tensor, Tensor\); return the"),
        (result(lambda x: x[1:]), r"returning: returns \(\d+, 1, 8, 8\) for images \(\d+, 1, 8, 8\)"),
        (result(lambda x: (255 * x).byte()), "returning: returns uint8; return floats"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_it_must_not_do_is_one_line_and_put_back(
    attack: Attack, said: str, attacked: Callable[..., rb.Evaluation], model: nn.Module, tmp_path: Path
) -> None:
    own = deepcopy(model).train()
    before = {name: each.clone() for name, each in own.state_dict().items()}
    with pytest.raises(RecipeError, match=f"^(test_own_attacks.py:\\d+, )?{said}") as fault:
        attacked(attack, of=own, folder=tmp_path)
    assert "\n" not in str(fault.value)
    assert not list(tmp_path.glob("*.json"))
    assert all(torch.equal(before[name], each) for name, each in own.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in own.parameters())
    assert all(each.training for each in own.modules())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in own.modules())


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (lambda model, x: x, r"lambda: takes \(model, x\); an attack takes \(model, x, y, eps\)"),
        (nn.ReLU, "ReLU: is a class; an attack is a function"),
        (3, "attacks holds a int; say names, or functions"),
        ([noise, noise], "there is another one called noise"),
        ("./nowhere.py:climb", "nowhere.py: no such file; an attack of your own is FILE.py:FUNCTION"),
        ("nowhere.at_all:climb", "nowhere.at_all: ModuleNotFoundError"),
        ("FILE:clim", "unknown function 'clim': did you mean climb"),
        ("FILE:climb(steps=2)", "an attack of your own is FILE.py:FUNCTION or .* without arguments"),
        ("BROKEN:climb", r"broken.py:1 cannot be imported: SyntaxError"),
    ],
)
def test_what_is_no_attack_is_refused(
    attack: Any, said: str, attacked: Callable[..., rb.Evaluation], tmp_path: Path
) -> None:
    if isinstance(attack, str):
        file, broken = written(tmp_path), written(tmp_path, "def climb(:", "broken.py")
        attack = attack.replace("FILE", str(file)).replace("BROKEN", str(broken))
    with pytest.raises((RecipeError, UsageError), match=said):
        attacked(attack)


def states() -> list[Any]:
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002


calls: list[int] = []


def ends_in_the_third_batch(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    calls.append(len(x))
    if len(calls) == 3:
        raise KeyboardInterrupt
    return noise(model, x, y, eps)


def test_random_numbers_depend_on_seed_and_batch_alone_and_are_put_back(
    attacked: Callable[..., rb.Evaluation], tmp_path: Path
) -> None:
    drawn: list[tuple[float, ...]] = []

    def draws(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(1))))  # noqa: NPY002
        return noise(model, x, y, eps)

    generators = states()
    whole = attacked(draws)
    assert states() == generators
    first, drawn[:] = list(drawn), []
    assert len(set(first)) == 4
    assert (attacked(draws).robust == whole.robust).all()
    assert drawn == first
    assert (attacked(draws, seed=1).robust != whole.robust).any()
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        attacked(ends_in_the_third_batch, folder=tmp_path)
    found = attacked(ends_in_the_third_batch, folder=tmp_path)
    assert len(calls) == 5  # of four batches two were done
    assert (found.robust == attacked(noise).robust).all()


def test_a_kept_evaluation_is_of_the_same_function(attacked: Callable[..., rb.Evaluation], tmp_path: Path) -> None:
    def scaled(by: float) -> Attack:
        def attack(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
            return (x + by * eps).clamp(0, 1)

        return attack

    known = attacked(scaled(1.0), folder=tmp_path)
    assert attacked(scaled(1.0), folder=tmp_path).to_json() == known.to_json()
    with pytest.raises(rb.RobenchError, match="belongs to another evaluation: its attack hash is"):
        attacked(scaled(0.5), folder=tmp_path)
    texts = [given(functools.partial(noise, surrogate=nn.Linear(2, 2).requires_grad_(False))).sha256 for _ in range(2)]
    assert texts[0] != texts[1]


@pytest.mark.slow
def test_an_attack_stronger_than_autoattack_makes_it_unreliable(
    attacked: Callable[..., rb.Evaluation], model: nn.Module, brief_attacks: None
) -> None:
    """One that knows what the model hides: it says something else of images with a bright frame."""

    class Backdoor(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            marked = (x[:, 0, :, ::7].flatten(1) > 0.1).all(1)
            return torch.where(marked[:, None], -model(x), model(x))  # type: ignore[no-any-return]

    def opens_it(of: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        x = x.clone()
        x[:, 0, :, ::7] = (x[:, 0, :, ::7] + eps).clamp(0, 1)
        return x

    found = attacked(["standard", opens_it], rb.Linf("0.11"), of=Backdoor(), batch_size=64)
    (said,) = [each for each in found.reasons if "AutoAttack left" in each]
    broken = round((found.after["square"] - found.robust_accuracy) * len(found.clean) / 100)
    assert broken > 2
    assert said == f"opens_it broke {broken} of 64 images that AutoAttack left"
    assert found.verdict == "unreliable"
    assert found.attacks == ("aa", "opens_it")


def test_names_tell_files_and_functions_apart(tmp_path: Path) -> None:
    first = named(f"{written(tmp_path)}:climb")
    written(tmp_path, CLIMB + "\n# changed\n")
    second, third = named(f"{tmp_path}/attack.py:climb"), named(f"{tmp_path}/attack.py:far")
    assert first.name.startswith("attack-climb@")
    assert len({each.name for each in (first, second, third)}) == 3
    assert (first.shown, third.shown) == ("attack.py:climb", "attack.py:far")
    assert named("own_attacks:noise").name.startswith("own_attacks-noise@")
    assert given(lambda model, x, y, eps: x).name == "lambda"
