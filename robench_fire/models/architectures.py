"""Architectures by name. Every model takes images in [0, 1] and returns logits."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from robench_fire.errors import RecipeError, unknown
from robench_fire.models import timm_models
from robench_fire.models.normalisation import layer
from robench_fire.models.own import check as own_checks
from robench_fire.models.own import network, text

Shape = tuple[int, int, int]


def _wrn(depth: int, width: int) -> Callable[[Shape, int], nn.Module]:
    if depth < 10 or (depth - 4) % 6 or width < 1:
        raise RecipeError(f"wrn-{depth}-{width}: the depth must be 10, 16, 22, 28, 34, … and the width at least 1")

    def build(shape: Shape, num_classes: int) -> nn.Module:
        from robench_fire.models.robustbench_package import architectures

        made: nn.Module = architectures().wide_resnet.WideResNet(
            depth=depth, widen_factor=width, num_classes=num_classes, sub_block1=False
        )
        return made

    return build


def _resnet18(shape: Shape, num_classes: int) -> nn.Module:
    from robench_fire.models.robustbench_package import architectures

    resnet = architectures().resnet
    made: nn.Module = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
    return made


def _preact_resnet18(shape: Shape, num_classes: int) -> nn.Module:
    from robench_fire.models.robustbench_package import architectures

    resnet = architectures().resnet
    made: nn.Module = resnet.PreActResNet(
        resnet.PreActBlock, [2, 2, 2, 2], num_classes=num_classes, bn_before_fc=True, out_shortcut=True
    )
    return made


def _small_cnn(shape: Shape, num_classes: int) -> nn.Module:
    from robench_fire.models.small_cnns import SmallCNN

    return SmallCNN(num_classes)


def _digits_cnn(shape: Shape, num_classes: int) -> nn.Module:
    from robench_fire.models.small_cnns import DigitsCNN

    return DigitsCNN(num_classes)


_FIXED: dict[str, tuple[Callable[[Shape, int], nn.Module], Shape]] = {
    "resnet-18": (_resnet18, (3, 32, 32)),
    "preact-resnet-18": (_preact_resnet18, (3, 32, 32)),
    "small-cnn": (_small_cnn, (1, 28, 28)),
    "digits-cnn": (_digits_cnn, (1, 8, 8)),
}


_NAMED = ("wrn-34-10", "wrn-28-10", "wrn-10-1", "timm/NAME", "FILE.py:NAME")


def builder(arch: str, shape: Shape) -> Callable[[Shape, int], nn.Module]:
    """The function (shape, number of classes) to model for ``arch``.

    Raises:
        RecipeError: for an unknown architecture or one that does not take images of ``shape``.
    """
    if arch.startswith("timm/"):
        return timm_models.builder(arch.removeprefix("timm/"), shape)
    if arch.startswith("timm:"):
        raise RecipeError(f"unknown architecture {arch!r}: a timm model is timm/{arch.removeprefix('timm:')}")
    if text.read(arch):
        return network.builder(arch)
    if match := re.fullmatch(r"wrn-(\d{1,4})-(\d{1,4})", arch):
        found, takes = _wrn(int(match[1]), int(match[2])), (3, 32, 32)
    elif arch in _FIXED:
        found, takes = _FIXED[arch]
    else:
        raise RecipeError(unknown("architecture", arch, [*_FIXED, *_NAMED]))
    if takes != shape:
        fits = [name for name, (_, other) in _FIXED.items() if other == shape] or ["timm/NAME"]
        wanted, given = "x".join(map(str, takes)), "x".join(map(str, shape))
        raise RecipeError(f"{arch} takes {wanted} images, not {given}; use --arch {' or '.join(fits)}")
    return found


def check(arch: str, shape: Shape, num_classes: int) -> None:
    """Refuse an architecture that cannot be trained on images of ``shape``; one of a user's own is tried.

    Raises:
        RecipeError: as ``builder``, and own.check.check.
    """
    builder(arch, shape)
    if text.read(arch):
        own_checks.check(arch, shape, num_classes, trained=True)


def build(
    arch: str, shape: Shape, num_classes: int, how: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> nn.Module:
    """A freshly initialised model, drawn from torch's global generator.

    ``how``: the normalisation layer in front of it, see ``normalise.layer``.
    """
    model = builder(arch, shape)(shape, num_classes)
    first = layer(how, mean, std)
    return model if first is None else nn.Sequential(first, model)


def bundled(shape: Shape) -> list[str]:
    """The architectures for images of ``shape`` that a checkpoint may be of, timm's apart."""
    named = [name for name, (_, takes) in _FIXED.items() if takes == shape]
    return named + [f"wrn-{depth}-{width}" for depth, width in _WRNS] * (shape == (3, 32, 32))


_WRNS = ((28, 10), (34, 10), (34, 20), (34, 15), (70, 16), (28, 4), (40, 2), (16, 4), (16, 8), (28, 2), (10, 1))


@cache
def chosen_of_timm(arch: str, shape: tuple[int, int, int]) -> dict[str, int]:
    """What a timm model was told so that it takes images of ``shape``; nothing for other architectures."""
    return timm_models.settings(arch.removeprefix("timm/"), shape) if arch.startswith("timm/") else {}


def shapes(arch: str, shape: Shape, num_classes: int) -> dict[str, torch.Size]:
    """The shape of every tensor in the state dict of an architecture."""
    make = builder(arch, shape)
    if text.read(arch):
        own_checks.check(arch, shape, num_classes)
    if arch.startswith("timm/") or text.read(arch):
        with torch.random.fork_rng([]):
            made = make(shape, num_classes)
    else:
        with torch.device("meta"):
            made = make(shape, num_classes)
    return {name: value.shape for name, value in made.state_dict().items()}


def last_layer(model: nn.Module) -> str:
    """The name of the linear layer that is registered last: the classifier of every bundled network and of timm's.

    What it reads are the network's features, and it alone depends on the number of classes.

    Raises:
        RecipeError: if the network has no linear layer.
    """
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise RecipeError(f"{type(model).__name__} has no linear layer, whose input would be its features")
    return str(linear[-1])
