"""Weights to evaluate."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from robench_fire.models import architectures
from robench_fire.runs.model_source import ModelSource, model_sources

CPU = torch.device("cpu")


def initial(arch: str, shape: architectures.Shape) -> nn.Module:
    torch.manual_seed(3)
    return architectures.builder(arch, shape)(shape, 10).eval()


def named(text: str, dataset: str = "", arch: str = "", norm: str = "", folder: Path = Path("models")) -> ModelSource:
    (found,) = model_sources(text, dataset, arch, norm, folder)
    return found
