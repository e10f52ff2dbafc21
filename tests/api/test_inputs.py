"""What cannot be attacked is refused in one line that says what it is and what to do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robench_fire as rb


def refused(said: str, model: Any, x: Any, y: Any, **options: Any) -> None:
    given = {"threat": rb.Linf("0.1"), "attacks": "pgd20", "progress": False} | options
    with pytest.raises(rb.RobenchError, match=said) as raised:
        rb.evaluate(model, x, y, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: (255 * x).to(torch.uint8), r"x is uint8, .* say x.float\(\) / 255"),
        (lambda x: (255 * x).round(), r"images run to 255, .* say x / 255"),
        (lambda x: 2 * x - 1, r"images run from -1 to 1; .* in \[0, 1\], before normalisation"),
        (lambda x: x * float("nan"), r"images run from nan"),
        (lambda x: x.half(), r"x is float16, .* say x.float\(\)"),
        (lambda x: x[0], r"x has shape \(1, 8, 8\); images are \(N, channels, height, width\), say x\[None\]"),
        (lambda x: x.flatten(1), r"x has shape \(64, 64\); images are"),
        (lambda x: x.permute(0, 2, 3, 1), r"x has shape \(64, 8, 8, 1\); .* say x.permute\(0, 3, 1, 2\)"),
        (lambda x: x[:3], "x has 3 images and y 64 labels"),
        (lambda x: x[:0], "x has 0 images and y 64 labels"),
        (lambda x: "images", "x is a str, not a tensor"),
        (lambda x: torch.rand(64, 3, 9, 9), r"the model cannot be called on float32 images \(8, 3, 9, 9\): "),
    ],
)
def test_images(change: Callable[[Tensor], Any], said: str, model: nn.Module, x: Tensor, y: Tensor) -> None:
    refused(said, model, change(x), y)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: nn.functional.one_hot(y, 10), r"y has shape \(64, 10\); .* say y.argmax\(1\)"),
        (lambda y: y[:, None], r"y has shape \(64, 1\); .* say y.flatten\(\)"),
        (lambda y: y.float(), r"y is float32; .* say y.long\(\)"),
        (lambda y: y > 4, "y is bool; labels are class numbers"),
        (lambda y: y + 1, "labels run from 1 to 10 for 10 classes; they count from 0: say y - 1"),
        (lambda y: 10 * y, "labels run from 0 to 90; the model has 10 classes, 0 to 9"),
        (lambda y: y - 1, "labels run from -1 to 8"),
    ],
)
def test_labels(change: Callable[[Tensor], Any], said: str, model: nn.Module, x: Tensor, y: Tensor) -> None:
    refused(said, model, x, change(y))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda logits: logits.softmax(1), "returns probabilities, which hide gradients; leave out its softmax"),
        (lambda logits: logits * float("nan"), "logits are not finite"),
        (lambda logits: (logits, logits), "returns a tuple, not logits"),
        (lambda logits: logits[:, 0], r"returns \(8,\) for 8 images; logits \(images, classes\) were expected"),
        (lambda logits: logits.numpy(), "returns a ndarray, not logits"),
        (lambda logits: logits[:, :2], "labels run from 0 to 9; the model has 2 classes"),
        (lambda logits: logits.half(), "returns float16, attacks need float32: leave out autocast"),
    ],
    ids=["probabilities", "nan", "tuple", "one number", "numpy", "2 classes", "half"],
)
def test_what_models_return(change: Callable[[Tensor], Any], said: str, model: nn.Module, x: Tensor, y: Tensor) -> None:
    frozen = copy.deepcopy(model).eval()
    refused(said, lambda images: change(frozen(images)), x, y)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda model: copy.deepcopy(model).half(), r"weights are float16, .* say model.float\(\)"),
        (lambda model: copy.deepcopy(model).double(), r"weights are float64, .* say model.float\(\)"),
        (
            lambda model: copy.deepcopy(model).to("meta"),
            "the model is on meta, the images on cpu: move one, or",
        ),
        (lambda model: type(model), "the model is the class DigitsCNN; give an nn.Module or a function"),
        (lambda model: "runs/digits", "the model is a str; give an nn.Module or a function .* such as rb.load"),
    ],
    ids=["half", "double", "elsewhere", "class", "path"],
)
def test_models(make: Callable[[nn.Module], Any], said: str, model: nn.Module, x: Tensor, y: Tensor) -> None:
    refused(said, make(model), x, y)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threat": "8/255"}, r"threat '8/255': say rb.Linf\(\"8/255\"\) or rb.L2\(0.5\)"),
        ({"attacks": "pgd-20"}, "unknown attack 'pgd-20': did you mean pgd20"),
        ({"attacks": ()}, "attacks is empty: choose from standard, fgsm"),
        ({"attacks": ("aa", "aa-plus")}, "they run apgd-ce in different ways; leave one out"),
        ({"num_classes": 7}, r"returns \(8, 10\) for 8 images; logits for 7 classes"),
        ({"batch_size": 0}, "batch_size 0: expected at least 1"),
        ({"device": "gpu"}, "device gpu: choose auto, cpu, cuda or cuda:N"),
    ],
)
def test_options(options: dict[str, Any], said: str, model: nn.Module, x: Tensor, y: Tensor) -> None:
    refused(said, model, x, y, **options)


def test_three_classes_have_an_autoattack_of_their_own(model: nn.Module, x: Tensor, y: Tensor) -> None:
    frozen = copy.deepcopy(model).eval()
    few = y < 3
    refused("attacks apgd-t needs 4 classes, the model has 3: say attacks='standard'",
            lambda images: frozen(images)[:, :3], x[few], y[few], attacks="apgd-t")  # fmt: skip
    found = rb.evaluate(lambda images: frozen(images)[:, :3], x[few], y[few], threat=rb.Linf(0.1))
    assert list(found.after) == ["apgd-ce", "apgd-dlr", "fab-t", "square"]


def test_a_refused_model_is_put_back(model: nn.Module, x: Tensor, y: Tensor) -> None:
    own = copy.deepcopy(model).train()
    refused("labels run from", own, x, 10 * y)
    assert own.training
    assert all(parameter.requires_grad for parameter in own.parameters())


@pytest.mark.parametrize("examples", [0, -5])
def test_images_are_at_least_one(examples: int) -> None:
    with pytest.raises(rb.RobenchError, match=f"examples {examples}: at least 1"):
        rb.load_images("digits", examples)


def test_the_zoos_folder_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setenv("ROBENCH_MODELS", "kept")
    monkeypatch.setattr("robench_fire.api.loading.model_sources", lambda *given: seen.append(given[4]) or [])
    for options in ({}, {"model_dir": "mine"}):
        with pytest.raises(IndexError):
            rb.load("rb:Standard", **options)
    assert [str(each) for each in seen] == ["kept", "mine"]
