"""Any model under attack: the same result as of a run's, whatever the model is, and kept where a folder is given."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from evaluated_models import run
from torch import Tensor, nn

import robench_fire as rb
from robench_fire.problem.dataset import Splits

SMALL = rb.Linf("0.1")


def quick(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, **options: object) -> rb.Evaluation:
    given = {"threat": SMALL, "attacks": "pgd20", "batch_size": 20, "progress": False}
    return rb.evaluate(model, x, y, **{**given, **options})  # type: ignore[arg-type]


def test_the_masks_are_those_of_the_commands(model: nn.Module, x: Tensor, y: Tensor, small: Splits) -> None:
    known = run("pgd20", model, small.test, SMALL, batch=20)
    found = quick(model, x, y)
    assert (found.clean == known.clean).all()
    assert (found.robust == known.robust).all()
    assert found.after == known.after
    assert found.clean_accuracy == 100 * found.clean.mean() > found.robust_accuracy == 100 * found.robust.mean() > 0
    assert found.interval[0] < found.robust_accuracy < found.interval[1]
    assert found.seconds["pgd20"] > 0
    assert (found.attacks, found.threat) == (("pgd20",), SMALL)
    assert found.verdict == "unknown"
    assert "pgd20 alone says little" in found.reasons[0]


@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.slow
def test_standard_is_autoattack_with_a_verdict(model: nn.Module, x: Tensor, y: Tensor, small: Splits) -> None:
    known = run("aa", model, small.test, SMALL)
    found = rb.evaluate(model, x, y, threat=SMALL, batch_size=64, progress=False)
    assert list(found.after.items()) == list(known.after.items())
    assert list(found.after) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert (found.attacks, found.verdict) == (("aa",), "reliable")
    assert [each["passed"] for each in found.facts["reliability"]["checks"]].count(True) == 4


def test_a_function_is_attacked_as_the_module_it_calls(model: nn.Module, x: Tensor, y: Tensor) -> None:
    frozen = copy.deepcopy(model).eval()
    module, function = quick(model, x, y), quick(lambda images: frozen(images), x, y)
    assert (module.robust == function.robust).all()
    assert quick(model, x.numpy(), y.numpy()).after == module.after  # type: ignore[arg-type]


def test_several_attack_what_those_before_them_left(model: nn.Module, x: Tensor, y: Tensor) -> None:
    alone, found = quick(model, x, y), quick(model, x, y, attacks=["fgsm", "pgd20"])
    assert list(found.after) == ["fgsm", "pgd20"]
    assert found.after["fgsm"] == quick(model, x, y, attacks="fgsm").robust_accuracy
    assert not (found.robust & ~quick(model, x, y, attacks="fgsm").robust).any()
    assert found.robust_accuracy <= alone.robust_accuracy


def test_mode_gradients_and_random_numbers_are_put_back(model: nn.Module, x: Tensor, y: Tensor) -> None:
    own = copy.deepcopy(model).train()
    next(own.children()).eval()
    before = [module.training for module in own.modules()]
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    evaluated = quick(own, x, y)
    assert torch.rand(1) == drawn
    assert [module.training for module in own.modules()] == before
    assert all(parameter.requires_grad for parameter in own.parameters())
    assert (evaluated.robust == quick(model, x, y).robust).all()


def test_an_evaluation_is_a_file(model: nn.Module, x: Tensor, y: Tensor, tmp_path: Path) -> None:
    found = quick(model, x, y)
    found.write(tmp_path / "there" / "mine.json")
    again = rb.Evaluation.read(tmp_path / "there" / "mine.json")
    assert again.to_json() == found.to_json()
    assert repr(again) == repr(found)
    assert f"64 images: clean {found.clean_accuracy:.2f} %" in repr(found)
    assert json.loads(found.to_json())["robust"] == found.robust_accuracy
    (tmp_path / "other.json").write_text('{"format": 1}')
    with pytest.raises(rb.RobenchError, match=r"other.json is no evaluation"):
        rb.Evaluation.read(tmp_path / "other.json")


class Ended(Exception):
    """What ends an evaluation in its middle."""


def counted(model: nn.Module, most: int) -> tuple[Callable[[Tensor], Tensor], list[int]]:
    """The model as a function that can be called so many times with a gradient."""
    frozen, calls = copy.deepcopy(model).eval().requires_grad_(False), [0]

    def function(images: Tensor) -> Tensor:
        calls[0] += images.requires_grad
        if calls[0] > most:
            raise Ended
        return frozen(images)

    return function, calls


def test_what_was_finished_is_kept(model: nn.Module, x: Tensor, y: Tensor, tmp_path: Path) -> None:
    whole, calls = counted(model, 1000)
    known = quick(whole, x, y)
    with pytest.raises(Ended):
        quick(counted(model, calls[0] // 2)[0], x, y, folder=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".state"]
    rest, more = counted(model, 1000)
    found = quick(rest, x, y, folder=tmp_path)
    assert more[0] < 0.8 * calls[0]
    assert (found.robust == known.robust).all()
    assert found.facts["sessions"] == 2
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    nothing, none = counted(model, 20)
    assert quick(nothing, x, y, folder=tmp_path).to_json() == found.to_json()
    assert none[0] <= 2  # the checks of the model


@pytest.mark.parametrize("unfinished", [True, False])
def test_another_model_or_other_images_are_refused(
    unfinished: bool, model: nn.Module, x: Tensor, y: Tensor, tmp_path: Path
) -> None:
    if unfinished:
        with pytest.raises(Ended):
            quick(counted(model, 60)[0], x, y, folder=tmp_path)
        own: Callable[[Tensor], Tensor] = counted(model, 1000)[0]
    else:
        quick(own := model, x, y, folder=tmp_path)
    other = copy.deepcopy(model).eval().requires_grad_(False)
    [*other.parameters()][-1][0] += 100  # the last layer's bias
    fewer = x.flip(0)
    for changed, images, labels, said in (
        (other, x, y, r"its (weights|predictions) hash is \w*, not \w+; move it away"),
        (lambda images: other(images), x, y, r"its (weights|predictions) hash is"),
        (lambda images: model.eval()(1 - images), x, y, r"its (weights|predictions) hash is"),
        (own, fewer, y.flip(0), "its images hash is"),
        (own, x, y.flip(0), "its images hash is"),
    ):
        with pytest.raises(rb.RobenchError, match=said):
            quick(changed, images, labels, folder=tmp_path)
    quick(own, x, y, folder=tmp_path)
    quick(own, x, y, folder=tmp_path, seed=1)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_weights_that_are_used_otherwise_are_another_model(
    model: nn.Module, x: Tensor, y: Tensor, tmp_path: Path
) -> None:
    """The state dict of both is the same."""

    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.inner, self.scale = model, scale

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(self.scale - images)  # type: ignore[no-any-return]

    quick(Scaled(0.0), x, y, folder=tmp_path)
    with pytest.raises(rb.RobenchError, match="its predictions hash is"):
        quick(Scaled(1.0), x, y, folder=tmp_path)


def test_a_folder_that_cannot_be_one(model: nn.Module, x: Tensor, y: Tensor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(rb.RobenchError, match=r"cannot write in .*file: .*; choose another folder"):
        quick(model, x, y, folder=tmp_path / "file")


def test_progress_is_shown_unless_it_is_not_wanted(
    model: nn.Module, x: Tensor, y: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    quick(model, x, y)
    assert capsys.readouterr() == ("", "")
    quick(model, x, y, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "evaluation: pgd20 0 %" in err
    assert "evaluation: done (1 of 1)" in err


def test_l2_and_other_radii(model: nn.Module, x: Tensor, y: Tensor) -> None:
    accuracies = [quick(model, x, y, threat=rb.L2(eps)).robust_accuracy for eps in (0, 0.3, 1)]
    assert accuracies[0] == quick(model, x, y).clean_accuracy > accuracies[1] > accuracies[2]


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_ends_the_call_and_says_what_is_kept(
    kept: bool, model: nn.Module, x: Tensor, y: Tensor, tmp_path: Path
) -> None:
    frozen, calls = copy.deepcopy(model).eval().requires_grad_(False), [0]

    def interrupted(images: Tensor) -> Tensor:
        calls[0] += images.requires_grad
        if calls[0] == 50 and images.requires_grad:
            os.kill(os.getpid(), signal.SIGINT)
        return frozen(images)  # type: ignore[no-any-return]

    said = "what was finished is kept, the same call continues" if kept else r"with folder=\.\.\. an evaluation can be"
    with pytest.raises(KeyboardInterrupt, match=said):
        quick(interrupted, x, y, folder=tmp_path if kept else None)
    assert calls[0] <= 52
    assert [path.suffix for path in tmp_path.iterdir()] == [".state"] * kept
    assert (quick(interrupted, x, y, folder=tmp_path).robust == quick(model, x, y).robust).all()
