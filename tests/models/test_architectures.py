"""Architectures: what images they take, and what is said of those that do not exist."""

from __future__ import annotations

import pytest
import torch
from built_models import CIFAR, DIGITS, MNIST, bare
from torch import nn

from robench_fire.errors import RecipeError
from robench_fire.models import architectures
from robench_fire.models.names import ARCHS, display_name


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        ("wrn-10-1", CIFAR),
        ("wrn-16-2", CIFAR),
        ("resnet-18", CIFAR),
        ("preact-resnet-18", CIFAR),
        ("small-cnn", MNIST),
        ("digits-cnn", DIGITS),
        ("timm/resnet18", CIFAR),
        ("timm/resnet18", MNIST),
    ],
)
@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_images_become_logits(arch: str, shape: architectures.Shape, num_classes: int) -> None:
    with torch.device("meta"):
        assert bare(arch, shape, num_classes)(torch.zeros(3, *shape)).shape == (3, num_classes)


def test_small_cnn_starts_as_published() -> None:
    model = bare("small-cnn", MNIST)
    assert not model.get_parameter("classifier.fc3.weight").any()
    assert not model.get_parameter("classifier.fc3.bias").any()
    assert model.get_parameter("classifier.fc2.weight").any()
    conv = model.get_submodule("feature_extractor.conv2")
    assert not conv.bias.any()
    assert conv.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    names = [f"feature_extractor.conv{i}" for i in range(1, 5)] + [f"classifier.fc{i}" for i in range(1, 4)]
    assert [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)] == names


@pytest.mark.parametrize("arch", ["digits-cnn", "small-cnn", "wrn-10-1"])
def test_initialisation_draws_from_the_global_generator(arch: str) -> None:
    shape = {"digits-cnn": DIGITS, "small-cnn": MNIST}.get(arch, CIFAR)
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(torch.cat([each.flatten() for each in bare(arch, shape).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("arch", "near"),
    [
        ("wrn-34", "wrn-34-10"),
        ("wrn-3410", "wrn-34-10"),
        ("resnet18", "resnet-18"),
        ("preactresnet18", "preact-resnet-18"),
        ("smallcnn", "small-cnn"),
        ("digit-cnn", "digits-cnn"),
    ],
)
def test_an_unknown_architecture_has_a_nearest_match(arch: str, near: str) -> None:
    with pytest.raises(
        RecipeError, match=f"unknown architecture '{arch}': did you mean {near}\\? choose from "
    ) as caught:
        architectures.builder(arch, CIFAR)
    assert all(name in str(caught.value) for name in ("resnet-18", "small-cnn", "digits-cnn", "timm/NAME"))


def test_an_architecture_like_no_other_lists_the_choices() -> None:
    with pytest.raises(RecipeError, match=r"unknown architecture 'zzz': choose from FILE\.py:NAME, digits-cnn"):
        architectures.builder("zzz", CIFAR)


@pytest.mark.parametrize("arch", ["wrn-4-10", "wrn-11-1", "wrn-35-10", "wrn-34-0", "wrn-0-1"])
def test_a_wide_resnet_that_cannot_be_built_is_refused(arch: str) -> None:
    with pytest.raises(RecipeError, match=f"{arch}: the depth must be 10, 16, 22, 28, 34, … and the width at least 1"):
        architectures.builder(arch, CIFAR)


@pytest.mark.parametrize(
    ("arch", "shape", "said"),
    [
        ("wrn-34-10", MNIST, "wrn-34-10 takes 3x32x32 images, not 1x28x28; use --arch small-cnn"),
        ("resnet-18", DIGITS, "resnet-18 takes 3x32x32 images, not 1x8x8; use --arch digits-cnn"),
        ("small-cnn", CIFAR, "small-cnn takes 1x28x28 images, not 3x32x32; use --arch resnet-18 or preact-resnet-18"),
        ("digits-cnn", MNIST, "digits-cnn takes 1x8x8 images, not 1x28x28; use --arch small-cnn"),
        ("small-cnn", (3, 64, 64), "small-cnn takes 1x28x28 images, not 3x64x64; use --arch timm/NAME"),
    ],
)
def test_images_of_another_shape_are_refused_with_what_fits(arch: str, shape: architectures.Shape, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        architectures.builder(arch, shape)
    assert str(caught.value) == said
    with pytest.raises(RecipeError):
        architectures.build(arch, shape, 10, "none", (), ())


def test_what_is_said_to_fit_does_fit() -> None:
    for arch, shape in (
        ("small-cnn", MNIST),
        ("digits-cnn", DIGITS),
        ("resnet-18", CIFAR),
        ("preact-resnet-18", CIFAR),
    ):
        assert callable(architectures.builder(arch, shape))


def test_every_named_architecture_is_listed_and_spelled() -> None:
    for arch in ("resnet-18", "preact-resnet-18", "small-cnn", "digits-cnn"):
        assert arch in ARCHS
        assert display_name(arch) != arch
    assert display_name("wrn-34-10") == "WideResNet-34-10"
    assert display_name("timm/resnet18") == "timm/resnet18"
