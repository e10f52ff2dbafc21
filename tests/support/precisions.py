"""Problems for number formats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import trainings

from robench_fire.problem.dataset import Splits
from robench_fire.training.setup import Problem

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
RECIPE = replace(trainings.RECIPE, epochs=2)


def problem(small: Splits, name: str = "fire", **changes: Any) -> Problem:
    return trainings.problem(small, name, replace(RECIPE, **changes))
