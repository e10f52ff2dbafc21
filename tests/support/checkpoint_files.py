"""Checkpoint files as scripts save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robench_fire.errors import DataError
from robench_fire.models import architectures, checkpoints

CPU = torch.device("cpu")


def made(arch: str, shape: architectures.Shape, classes: int = 10) -> nn.Module:
    return architectures.builder(arch, shape)(shape, classes)


def build(classes: int = 10) -> nn.Module:
    return made("digits-cnn", (1, 8, 8), classes)


def weights(classes: int = 10) -> dict[str, Tensor]:
    """Those of a trained model, so to speak: nothing is left at its initial value."""
    torch.manual_seed(5)
    return {
        name: torch.rand_like(value.float()).to(value.dtype) + 1 for name, value in build(classes).state_dict().items()
    }


def saved(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        assert isinstance(content, dict)
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def refusal(path: Path, make: Callable[[], nn.Module] = build) -> str:
    with pytest.raises(DataError) as caught:
        checkpoints.load(path, make, CPU)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(path))
