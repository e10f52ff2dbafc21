"""Models as the architectures build them."""

from __future__ import annotations

from torch import nn

from robench_fire.models import architectures

CIFAR, MNIST, DIGITS = (3, 32, 32), (1, 28, 28), (1, 8, 8)


def bare(arch: str, shape: architectures.Shape, num_classes: int = 10) -> nn.Module:
    return architectures.builder(arch, shape)(shape, num_classes)


def parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
