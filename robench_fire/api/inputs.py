"""What is checked of a model, images and labels of a user's own before anything is attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robench_fire.devices.device import resolve
from robench_fire.errors import DataError, RobenchError, UsageError
from robench_fire.evaluation import checks
from robench_fire.problem.threat import L2, THREATS, Linf, Threat
from robench_fire.training.setup import frozen

FEW = 8  # images that a model is asked about first


class Called(nn.Module):
    """Any function of images as a module. It is called with images alone: not traced, and not copied."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Called:
        raise TypeError("a function may hold anything; attacks use it as it is")


class Given(NamedTuple):
    """What is attacked: a model, images (N, C, H, W), float32 in [0, 1], and class numbers (N,), on one device."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    num_classes: int


@contextmanager
def given(model: Any, x: Any, y: Any, num_classes: int | None = None, device: str | None = None) -> Iterator[Given]:
    """A user's model, frozen and in eval mode until the body is left, with its images and labels.

    Raises:
        DataError, UsageError: for anything that cannot be attacked, saying what it is and what to do about it.
    """
    module = _module(model)
    images, labels = _images(x), _labels(y)
    if len(images) != len(labels):
        raise DataError(f"x has {len(images)} images and y {len(labels)} labels; give one label for each image")
    images, labels = _placed(module, images, labels, device)
    images = checks.images(images)
    with frozen(module):
        classes = _classes(module, images[:FEW], num_classes)
        _in_range(labels, classes)
        yield Given(module, images, labels, classes)


def threat_of(asked: Any) -> Threat:
    """A threat model.

    Raises:
        UsageError: for anything else.
    """
    if not isinstance(asked, (Linf, L2)):
        names = " or ".join(f'rb.{name}("8/255")' if name == "Linf" else f"rb.{name}(0.5)" for name in THREATS)
        raise UsageError(f"threat {asked!r}: say {names}")
    return asked


def _module(model: Any) -> nn.Module:
    if isinstance(model, nn.Module):
        short = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32}
        if short:
            raise DataError(f"the model's weights are {_said(short.pop())}, attacks need float32: say model.float()")
        return model
    if isinstance(model, type) or not callable(model):
        raise UsageError(
            f"the model is {'the class' if isinstance(model, type) else 'a'} "
            f"{model.__name__ if isinstance(model, type) else type(model).__name__}; "
            "give an nn.Module or a function from images to logits, such as rb.load(...)"
        )
    return Called(model)


def _images(x: Any) -> Tensor:
    found = _tensor("x", x)
    if found.dtype in (torch.float16, torch.bfloat16):
        raise DataError(f"x is {_said(found.dtype)}, attacks need float32: say x.float()")
    if not found.is_floating_point():
        raise DataError(f"x is {_said(found.dtype)}, a threat model needs floats in [0, 1]: say x.float() / 255")
    if found.dim() != 4:
        fix = ", say x[None]" if found.dim() == 3 else ""
        raise DataError(f"x has shape {tuple(found.shape)}; images are (N, channels, height, width){fix}")
    if found.shape[1] > 4 >= found.shape[3]:
        shape = tuple(found.shape)
        raise DataError(f"x has shape {shape}; channels come before height and width: say x.permute(0, 3, 1, 2)")
    if len(found) and 1.5 < found.max().item() <= 255 and found.min().item() >= 0:
        raise DataError(f"images run to {found.max().item():.4g}, a threat model needs them in [0, 1]: say x / 255")
    return found.detach().float()


def _labels(y: Any) -> Tensor:
    found = _tensor("y", y)
    if found.dim() == 2 and found.shape[1] > 1:
        raise DataError(f"y has shape {tuple(found.shape)}; labels are class numbers (N,): say y.argmax(1)")
    if found.dim() != 1:
        raise DataError(f"y has shape {tuple(found.shape)}; labels are class numbers (N,): say y.flatten()")
    if found.is_floating_point() or found.dtype == torch.bool or found.is_complex():
        raise DataError(f"y is {_said(found.dtype)}; labels are class numbers, integers: say y.long()")
    return found.detach().long()


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as fault:
        raise DataError(f"{name} is a {type(value).__name__}, not a tensor or an array ({fault})") from None


def _placed(module: nn.Module, images: Tensor, labels: Tensor, device: str | None) -> tuple[Tensor, Tensor]:
    """Both on ``device``, by default that of the images; a model that has a device must be there."""
    place = resolve(device) if device else images.device
    homes = {each.device for each in [*module.parameters(), *module.buffers()]}
    if len(homes) == 1 and place not in homes:
        (home,) = homes
        raise DataError(f"the model is on {home}, the images on {place}: move one, or say device={str(home)!r}")
    return images.to(place), labels.to(place)


def _classes(module: nn.Module, few: Tensor, num_classes: int | None) -> int:
    """How many classes the model's logits are of."""
    try:
        with torch.no_grad():
            found = module(few)
    except RobenchError:
        raise
    except Exception as fault:
        said = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        raise DataError(f"the model cannot be called on {_said(few.dtype)} images {tuple(few.shape)}: {said}") from None
    if isinstance(found, Tensor) and found.dim() == 2 and num_classes is None:
        num_classes = found.shape[1]
    logits = checks.logits(found, len(few), num_classes or 0) if num_classes else _no_logits(found, len(few))
    if logits.dtype not in (torch.float32, torch.float64):
        raise DataError(f"the model returns {_said(logits.dtype)}, attacks need float32: leave out autocast or half()")
    checks.finite(logits)
    if checks.are_probabilities(logits):
        raise DataError("the model returns probabilities, which hide gradients; leave out its softmax")
    return logits.shape[1]


def _no_logits(found: Any, images: int) -> Tensor:
    if isinstance(found, Tensor):
        raise DataError(
            f"the model returns {tuple(found.shape)} for {images} images; logits (images, classes) were expected"
        )
    return checks.logits(found, images, 0)


def _in_range(labels: Tensor, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low == 1 and high == classes:
        raise DataError(f"labels run from 1 to {high} for {classes} classes; they count from 0: say y - 1")
    if low < 0 or high >= classes:
        raise DataError(f"labels run from {low} to {high}; the model has {classes} classes, 0 to {classes - 1}")


def _said(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
