"""Names of architectures; imports no torch, so that listing them is instant."""

from __future__ import annotations

import re

from robench_fire.models.own import text

ARCHS = {
    "wrn-D-W": "WideResNet of depth D (6n + 4) and width W, RobustBench's class; wrn-34-10, wrn-28-10, wrn-10-1",
    "resnet-18": "ResNet-18 for 32 x 32 images, RobustBench's class",
    "preact-resnet-18": "PreActResNet-18 with a final batch norm, RobustBench's class",
    "small-cnn": "four convolutions for MNIST (Zhang et al. 2019)",
    "digits-cnn": "two convolutions for the 8 x 8 digits",
    "timm/NAME": "any timm model, untrained",
    "FILE.py:NAME": "a function or class of your own, or package.module:NAME; arguments by --set arch.NAME=VALUE",
}


def display_name(arch: str) -> str:
    """RobustBench's spelling: ``wrn-34-10`` is WideResNet-34-10; a network of a user's own by its function."""
    if own := text.read(arch):
        return own.call
    spelled = {"resnet-18": "ResNet-18", "preact-resnet-18": "PreActResNet-18", "small-cnn": "SmallCNN"}
    return spelled.get(arch, "DigitsCNN" if arch == "digits-cnn" else re.sub("^wrn-", "WideResNet-", arch))


def asked(arch: str) -> str:
    """As ``--arch`` takes it: of a network of a user's own without which code it is."""
    own = text.read(arch)
    return own.asked() if own else arch
