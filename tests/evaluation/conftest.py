"""Weights and a model to evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from evaluated_models import taught
from torch import nn
from weights_to_evaluate import initial

from robench_fire.data.batches import to_float
from robench_fire.problem.dataset import Splits


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), tmp_path / "mine.pt")
    return tmp_path / "mine.pt"


@pytest.fixture(scope="module")
def model(small: Splits) -> nn.Module:
    return taught(to_float(small.train.images), small.train.labels)
