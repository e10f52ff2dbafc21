"""Weights and a model to evaluate."""

from __future__ import annotations

import pytest
from evaluated_models import taught
from torch import nn

from robench_fire.data.batches import to_float
from robench_fire.problem.dataset import Splits


@pytest.fixture(scope="module")
def model(small: Splits) -> nn.Module:
    return taught(to_float(small.train.images), small.train.labels)
