"""Under which threat models weights are evaluated, and the texts of radii and shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import robench

from robench_fire.cli.common.reading import radii, shard
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.problem.settings import to_plain
from robench_fire.problem.threat import Linf, Threat
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import Run, read_json
from robench_fire.runs.model_source import ModelSource, source_of

CLAIM = Linf(eps=Quantity("8/255"))


def claiming(claim: Threat, trained: Threat | None = None) -> ModelSource:
    """A source of which only the threat models matter."""
    return ModelSource(
        weights=Path("w"), stem=Path("w.eval"), dataset="cifar10", arch="resnet-18", normalise="none", claim=claim,
        trained=trained or claim,
    )  # fmt: skip


def texts(found: list[Threat]) -> list[tuple[str, str]]:
    return [(threat.norm, str(threat.eps)) for threat in found]


def test_several_radii_keep_their_texts() -> None:
    found = Evaluations(eps=radii("8/255, 0.031,8/255")).threats(claiming(CLAIM))
    assert texts(found) == [("Linf", "8/255"), ("Linf", "0.031")]
    assert found[0].eps != found[1].eps
    assert Evaluations().threats(claiming(CLAIM)) == [CLAIM]
    found = Evaluations(norm="L2", eps=("0.5", "1")).threats(claiming(CLAIM))
    assert [each.norm for each in found] == ["L2", "L2"]


def test_unless_asked_otherwise_the_claim_comes_first_and_then_what_was_trained_at() -> None:
    smaller, none = Linf(eps=Quantity("0.031")), Linf(eps=Quantity("0"))
    assert texts(Evaluations().threats(claiming(CLAIM, smaller))) == [("Linf", "8/255"), ("Linf", "0.031")]
    assert texts(Evaluations(norm="Linf").threats(claiming(CLAIM, smaller))) == [("Linf", "8/255"), ("Linf", "0.031")]
    assert texts(Evaluations(eps=("0.1",)).threats(claiming(CLAIM, smaller))) == [("Linf", "0.1")]
    assert texts(Evaluations().threats(claiming(CLAIM, none))) == [("Linf", "8/255")]
    assert texts(Evaluations().threats(claiming(none))) == [("Linf", "0")]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"defense": "trades", "profile": "official"}, [("Linf", "8/255"), ("Linf", "0.031")]),
        ({"defense": "trades"}, [("Linf", "8/255")]),
        ({"defense": "trades", "eps": "4/255"}, [("Linf", "4/255")]),
        ({"defense": "trades", "settings": (("--set", "threat.eps", "0"),)}, [("Linf", "8/255")]),
    ],
    ids=["official", "matched", "another radius", "no attack"],
)
def test_a_run_is_evaluated_at_its_claim_and_at_its_own_radius(
    asked: dict[str, Any], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    run = Run(tmp_path / "seed-0")
    run.write("plan.json", to_plain(compose(Request(dataset="cifar10", **asked)).plan))
    with pytest.raises(DataError, match="not here: bring it back"):
        source_of(run)
    run.weights.touch()
    assert texts(Evaluations().threats(source_of(run))) == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Evaluations(norm="L2"), "--norm L2 needs --eps: the claim is Linf 8/255; on cifar10 0.5 is usual in L2"),
        (Evaluations(eps=("8/255", "8")), "eps 8 is outside"),
        (Evaluations(eps=("-0.1",)), "eps -0.1 is outside"),
        (Evaluations(norm="L2", eps=("-1",)), "eps -1 is negative"),
        (Evaluations(eps=("nan",)), "'nan' is not a number"),
    ],
)
def test_a_radius_that_cannot_be_is_refused(wanted: Evaluations, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        wanted.threats(claiming(CLAIM))


def test_a_radius_of_another_norm_is_doubted_but_attacked_at() -> None:
    wanted, source = Evaluations(norm="L2", eps=("8/255", "0.5", "0.1")), claiming(CLAIM)
    assert wanted.doubts(source) == ["L2 8/255: on cifar10 it is usual in Linf, in L2 it is 0.5"]
    assert [str(each.eps) for each in wanted.threats(source)] == ["8/255", "0.5", "0.1"]
    assert Evaluations().doubts(source) == []


def test_the_texts_of_shards_and_radii() -> None:
    assert [shard(text) for text in ("", "2/4", " 1 / 1 ")] == [None, (2, 4), (1, 1)]
    assert radii("") == ()
    assert radii("0.1,,0.10, 0.1") == ("0.1", "0.10")
    for text in ("0/4", "5/4", "x", "2/", "-1/4", "1/0", "1/4/2", "1.0/4"):
        with pytest.raises(UsageError, match="expected i/n"):
            shard(text)


def test_a_column_for_each_radius(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    monkeypatch.setenv("COLUMNS", "200")
    words = "eval mine.pt --dataset digits --arch digits-cnn --eps 0.1,0.2 --attack square --examples 20"
    assert robench(*words.split()) == 0
    out = capsys.readouterr().out
    assert "20 test images" in out
    assert [out.count(f"Linf {eps}") for eps in ("0.1", "0.2")] == [1, 1]
    (row,) = [line.replace("│", " ").split() for line in out.splitlines() if "mine.pt" in line]
    stored = [read_json(Path(f"mine.pt.eval.square-Linf-{eps}-20.json")) for eps in ("0.1", "0.2")]
    assert row == ["mine.pt", f"{stored[0]['clean']:.2f}", *(f"{each['robust']:.2f}" for each in stored)]


def test_merging_a_shard_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"eval {checkpoint} --dataset digits --arch digits-cnn --merge --shard 1/2"
    assert robench(*words.split()) == 2
    assert "leave out --shard" in capsys.readouterr().err
