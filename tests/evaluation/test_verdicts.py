"""Verdicts as they are stored, made again, worded, and made an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from masked_models import TRANSFER, quiet, taught
from safetensors.torch import save_file

from robench_fire.cli import main
from robench_fire.evaluation import reliability_text
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source, is_judged
from robench_fire.files import sha256
from robench_fire.launching.seed import run_folder
from robench_fire.problem.dataset import Splits
from robench_fire.problem.settings import to_plain
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import Run, read_json
from robench_fire.runs.model_source import source_of

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture
def two_seeds(tmp_path: Path) -> tuple[Run, Run]:
    """Two run folders of one plan, the second one not trained yet."""
    composed = compose(Request(defense="madry", dataset="digits"))
    first, second = (run_folder(composed, tmp_path, seed) for seed in (0, 1))
    for run in (first, second):
        run.write("plan.json", to_plain(composed.plan))
        save_file(taught(run.seed).state_dict(), run.weights)
    first.write("train.json", {"weights_sha256": sha256(first.weights)})
    return first, second


def test_the_verdict_is_stored_and_made_again_when_another_seed_is_trained(
    two_seeds: tuple[Run, Run], small: Splits
) -> None:
    first, second = two_seeds
    wanted = Evaluations(attacks=("pgd20", "aa"))
    name = "eval.aa-Linf-0.2-64.json"

    def verdicts(judge: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
        made = evaluate_source(source_of(first), small.test, wanted, CPU, quiet, judge=judge)
        assert made[1] == read_json(first.folder / name)
        return made[0].get("reliability", {}), made[1].get("reliability", {})

    assert verdicts(judge=False) == ({}, {})
    attacked = (first.folder / name).with_suffix(".npy").stat().st_mtime_ns
    pgd, alone = verdicts()
    assert (pgd["verdict"], pgd["siblings"]) == ("unknown", {})
    assert (alone["verdict"], alone["siblings"]) == ("reliable", {})
    assert alone["reasons"] == [f"{TRANSFER}: not checked, no other seed of this defense is trained"]
    stored = (first.folder / name).stat().st_mtime_ns
    assert verdicts() == (pgd, alone)
    assert (first.folder / name).stat().st_mtime_ns == stored
    second.write("train.json", {"weights_sha256": sha256(second.weights), "seconds": 1.0})
    pgd_again, both = verdicts()
    assert pgd_again == pgd
    assert both["siblings"] == {"seed-1": sha256(second.weights)}
    assert (both["verdict"], both["reasons"]) == ("reliable", [])
    assert "on 1 other seeds" in both["checks"][-1]["found"]
    assert (first.folder / name).with_suffix(".npy").stat().st_mtime_ns == attacked
    assert not is_judged(read_json(first.folder / name), {"seed-1": "trained anew"})


def test_strict_makes_an_unreliable_result_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {name: value.clone() for name, value in taught(0).state_dict().items()}
    for name in ("classifier.2.weight", "classifier.2.bias"):
        weights[name] *= 1e6
    for name, each in (("scaled", weights), ("honest", taught(0).state_dict())):
        torch.save(each, tmp_path / f"{name}.pt")
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def code(name: str, *more: str) -> int:
        words = f"robench eval {tmp_path}/{name}.pt --dataset digits --arch digits-cnn --attack aa --examples 25"
        monkeypatch.setattr(sys, "argv", [*words.split(), *more])
        with pytest.raises(SystemExit) as leaving:
            main()
        return int(leaving.value.code or 0)

    assert code("honest", "--strict") == 0
    capsys.readouterr()
    assert code("scaled") == 0
    assert "  PGD-50 leaves" in capsys.readouterr().out
    assert code("scaled", "--strict") == 6
    told = capsys.readouterr()
    assert "scaled.pt, aa: unreliable; PGD-50 leaves" in told.err
    assert "unreliable" in told.out


def test_each_sign_is_a_sentence_with_numbers_where_they_are_known() -> None:
    facts = {
        "flags": [reliability_text.SQUARE],
        "after": {"apgd-ce": 60.0, "fab-t": 58.33333, "square": 57.33333},
        "examples": 300,
    }
    (said_,) = reliability_text.signs(facts)
    assert said_ == (
        "Square, a black-box attack, broke 3 of 175 images that the gradient attacks left; gradients may be masked"
    )
    for flag in ("randomised", "probabilities instead of logits", "dynamic", reliability_text.ZERO_GRADIENTS):
        (said_,) = reliability_text.signs({"flags": [flag]})
        assert said_ != flag
        assert "{" not in said_


def test_a_reason_of_an_older_result_is_worded_as_well_as_it_can_be() -> None:
    both = f"{reliability_text.OWN}: no, {reliability_text.SQUARE}, {reliability_text.ZERO_GRADIENTS}"
    assert reliability_text.reworded(both).startswith(
        "Square, a black-box attack, broke images that the gradient attacks left"
    )
    assert "exactly 0" in reliability_text.reworded(both)
    assert reliability_text.reworded("anything: no, else") == "anything: no, else"
