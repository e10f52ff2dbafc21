"""A model of one's own, and images to attack."""

from __future__ import annotations

import pytest
from evaluated_models import taught
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.problem.dataset import Splits


@pytest.fixture(scope="module")
def model(small: Splits) -> nn.Module:
    return taught(to_float(small.train.images), small.train.labels)


@pytest.fixture(scope="module")
def x(small: Splits) -> Tensor:
    return to_float(small.test.images)


@pytest.fixture(scope="module")
def y(small: Splits) -> Tensor:
    return small.test.labels
