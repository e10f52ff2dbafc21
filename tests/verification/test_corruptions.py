"""What `robench verify` says of accuracies under common corruptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_evaluation import TEST
from verified_runs import quiet, verified

from robench_fire.evaluation.corruptions import evaluate
from robench_fire.evaluation.evaluator import Evaluations, Evaluator
from robench_fire.files import SEAL, sealed
from robench_fire.runs.folders import find
from robench_fire.runs.model_source import source_of
from robench_fire.verification.finding import Finding


@pytest.fixture
def record(own: Path) -> Path:
    """Of a run's weights."""
    run = next(run for run in find(own) if run.trained)
    wanted = Evaluator(source_of(run), TEST, Evaluations(examples=10), torch.device("cpu"))
    evaluate.evaluate_one(wanted, None, TEST, quiet)
    (path,) = run.folder.glob("corruptions.*.json")
    return path


def said(record: Path) -> Finding:
    (found,) = [each for each in verified(record.parent) if each.file == str(record)]
    return found


def test_what_was_written_agrees(record: Path) -> None:
    assert said(record) == Finding("corruptions", str(record), True, "its seal, its masks and its weights")


def unsealed(found: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in found.items() if name != SEAL}


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], bool | None, str]] = {
    "a digit": (lambda found: found | {"clean": 12.5}, False, "its seal is"),
    "no seal": (unsealed, False, "it has no seal any more"),
    "other weights": (lambda found: sealed(found | {"weights_sha256": "0" * 64}), False, "weights_sha256 is 000"),
    "another mean": (lambda found: sealed(found | {"accuracy": 1.5}), False, "its mean is not that of its corrup"),
    "half of it": (
        lambda found: sealed(
            {name: each for name, each in found.items() if name not in ("accuracy", "error", "kinds")}
        ),
        None,
        "it is not finished",
    ),
}


@pytest.mark.parametrize(("change", "passed", "text"), CHANGES.values(), ids=CHANGES)
def test_changes_are_told(
    record: Path, change: Callable[[dict[str, Any]], dict[str, Any]], passed: bool | None, text: str
) -> None:
    record.write_text(json.dumps(change(json.loads(record.read_text()))))
    assert (said(record).passed, text in said(record).found) == (passed, True)
