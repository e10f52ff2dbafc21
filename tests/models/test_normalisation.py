"""Normalisation layers in front of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from built_models import DIGITS, bare, parameters
from torch import nn

from robench_fire.models import architectures
from robench_fire.models.normalisation import Standardise, StandardiseEachImage


def normalised(how: str, arch: str = "digits-cnn", shape: architectures.Shape = DIGITS) -> nn.Module:
    return architectures.build(arch, shape, 10, how, (0.25,) * shape[0], (0.5,) * shape[0])


def test_without_normalisation_the_model_itself_is_built() -> None:
    assert set(normalised("none").state_dict()) == set(bare("digits-cnn", DIGITS).state_dict())


@pytest.mark.parametrize(("how", "layer"), [("dataset", Standardise), ("image", StandardiseEachImage)])
def test_normalisation_is_the_first_layer(how: str, layer: type[nn.Module]) -> None:
    model = normalised(how).eval()
    assert isinstance(model[0], layer)
    x = torch.rand(5, *DIGITS)
    assert torch.equal(model(x), model[1](model[0](x)))


def test_dataset_normalisation_is_per_channel() -> None:
    mean, std = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
    x = np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32)
    expected = np.stack([(x[:, channel] - mean[channel]) / std[channel] for channel in range(3)], axis=1)
    made = Standardise(mean, std)(torch.from_numpy(x))
    assert made.dtype == torch.float32
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_dataset_statistics_are_saved_but_never_learnt() -> None:
    layer = Standardise((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert parameters(layer) == 0
    assert set(layer.state_dict()) == {"mean", "std"}


def test_image_normalisation_is_per_image() -> None:
    x = np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32)
    x[1] *= 0.01
    expected = [(image - image.mean()) / max(image.std(), 1 / np.sqrt(3 * 32 * 32)) for image in x.astype(np.float64)]
    made = StandardiseEachImage()(torch.from_numpy(x))
    np.testing.assert_allclose(made.numpy(), np.stack(expected), rtol=1e-4, atol=1e-4)


def test_a_constant_image_becomes_zero_with_a_finite_gradient() -> None:
    x = torch.full((2, 1, 8, 8), 0.3, requires_grad=True)
    made = StandardiseEachImage()(x)
    made.square().sum().backward()
    assert made.abs().max() < 1e-5
    assert x.grad is not None
    assert x.grad.isfinite().all()
