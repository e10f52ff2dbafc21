"""`robench submit ARCH:FILE`: a checkpoint that was trained elsewhere, after its evaluation."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path

import bundle_edits as edits
import pytest
import submission_runs as made
import torch
from command_line import robench
from safetensors.torch import load_file

from robench_fire.errors import DataError, RobenchError, UsageError
from robench_fire.evaluation import checks
from robench_fire.files import sealed, sha256, write_json
from robench_fire.runs.folders import read_json
from robench_fire.submission.bundle import read
from robench_fire.submission.claims.from_file import told

pytestmark = pytest.mark.slow

NAME = "Doe2026Mine"
PAPER = {"name": "Mine", "authors": "Jane Doe, Max Muster", "venue": "ICML 2026", "link": "https://example.org/mine"}
MEAN_STD = "0.4914,0.4822,0.4465:0.25,0.25,0.25"
INFO = f"model_info/cifar10/Linf/{NAME}.json"
WITHOUT = ("plan", "train", "curve", "seeds", "environment", "row")  # of a training that is not known


@pytest.fixture(scope="module")
def weights(plan: Path) -> dict[str, torch.Tensor]:
    return load_file(plan / "seed-0" / "weights.safetensors")


FILE = ("wrn-10-1:best.pth", "--dataset", "cifar10")
SAID = ("--paper", "paper.json", "--additional-data", "no", "--name", NAME)


def evaluate(*words: str) -> None:
    assert robench("eval", *FILE, "--attack", "aa", *words) == 0


def submit(*words: str) -> int:
    return robench("submit", *FILE, *SAID, "--examples", "1", "-o", "out", *words)


def check() -> int:
    return robench("submit", "--check", "out", "--examples", "1")


@pytest.fixture(scope="module")
def once(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as a training script saves it, its paper; in "evaluated" with its evaluation and its bundle too."""
    base = tmp_path_factory.mktemp("file")
    for name in ("file", "evaluated"):
        (base / name).mkdir()
        inner = {f"module.{name}": value for name, value in weights.items()}
        torch.save({"state_dict": inner, "args": Namespace(lr=0.1), "epoch": 7}, base / name / "best.pth")
        (base / name / "paper.json").write_text(json.dumps(PAPER))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base / "evaluated")
        evaluate()
        assert submit() == 0
    return base


@pytest.fixture
def file(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the file alone, in the working directory."""
    monkeypatch.chdir(made.copied(once / "file", tmp_path / "own"))
    return tmp_path / "own" / "best.pth"


@pytest.fixture
def evaluated(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the working directory after its evaluation, with its bundle in "out"."""
    monkeypatch.chdir(own := made.copied(once / "evaluated", tmp_path / "own"))
    return own


def holds(folder: Path, how: str, weights: dict[str, torch.Tensor]) -> None:
    """Whether the bundle of the checkpoint in ``folder`` says what was evaluated."""
    out = folder / "out"
    assert check() == 0
    assert (out / "checkpoint" / "evaluated.pt").read_bytes() == (folder / "best.pth").read_bytes()
    assert read_json(out / "evidence" / "aa_summary.json")["weights_sha256"] == sha256(folder / "best.pth")
    flat = torch.load(out / "checkpoint" / f"{NAME}.pt", weights_only=True)
    before = "" if how == "none" else "1."
    assert {name for name in flat if not name.startswith("0.")} == {f"{before}{name}" for name in weights}
    assert ("Standardise" in (out / "zoo_entry.patch").read_text()) == (how != "none")
    info = read_json(out / INFO)
    assert {key: info[key] for key in PAPER} == PAPER
    assert (info["additional_data"], info["architecture"]) == (False, "WideResNet-10-1")


def test_an_evaluated_checkpoint_becomes_a_bundle(evaluated: Path, weights: dict[str, torch.Tensor]) -> None:
    holds(evaluated, "none", weights)


@pytest.mark.parametrize("how", ["dataset", "image", MEAN_STD])
def test_with_a_normalisation_too(
    file: Path, how: str, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(checks, "wrong_normalisation", lambda *_: None)  # which knows that it was trained without
    evaluate("--normalise", how)
    code = submit("--normalise", how)
    said = capsys.readouterr()
    if code == 6:  # the network was not trained behind that layer, and may be no better than chance there
        assert submit("--normalise", how, "--draft") == 0
    else:
        assert code == 0, said.err
    holds(file.parent, how, weights)


def test_what_is_not_known_of_its_training_is_not_said(evaluated: Path, tmp_path: Path) -> None:
    out = evaluated / "out"
    assert not [name for name in WITHOUT if list((out / "provenance").glob(f"{name}.*"))]
    for name in ("ISSUE.md", "MODEL_CARD.md"):
        text = (out / name).read_text()
        assert "not trained with" in text
        assert "(FILL IN: training data, recipe" in text
        assert "best.pth" in text
        for invented in ("matched profile", "of 5 seeds", "Seed 0", "None", "{{", "DRAFT"):
            assert invented not in text
    before, after = made.patched(out / "zoo_entry.patch", tmp_path / "clone")
    assert f"('{NAME}', {{" in after
    assert f"('{NAME}', {{" not in before
    text = (out / "ISSUE.md").read_text()
    (out / "ISSUE.md").write_text(text.replace("(FILL IN: where it is)", "https://example.org/code"))
    assert [each for each in made.checked(out) if not each.passed] == []


@pytest.mark.parametrize("changed", ["evaluated.pt", f"{NAME}.pt"])
def test_a_changed_checkpoint_is_found(evaluated: Path, changed: str, capsys: pytest.CaptureFixture[str]) -> None:
    edits.byte(f"checkpoint/{changed}", 0.5)(evaluated / "out")
    assert check() == 7
    edits.sum_up(evaluated / "out")
    assert check() == 7
    assert "checkpoint" in capsys.readouterr().err


def test_other_weights_with_every_hash_are_found(evaluated: Path) -> None:
    out, stored = evaluated / "out", evaluated / "out" / "checkpoint" / "evaluated.pt"
    flat = torch.load(out / "checkpoint" / f"{NAME}.pt", weights_only=True)
    for path in (stored, out / "checkpoint" / f"{NAME}.pt"):
        torch.save({name: torch.zeros_like(value) for name, value in flat.items()}, path)
    claim = read(out)
    edits.text("evidence/autoattack.log", claim.facts["weights_sha256"], sha256(stored))(out)
    edits.issued(out, facts=claim.facts | {"weights_sha256": sha256(stored)})
    assert "clean accuracy by RobustBench" in {each.name for each in made.checked(out) if not each.passed}


def test_few_images_make_a_draft_only(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate("--examples", "8")
    capsys.readouterr()
    assert submit() == 4
    again = "`robench eval wrn-10-1:best.pth --dataset cifar10 --attack aa --eps 8/255`"
    assert f"run on 8 of the 12 test images; RobustBench wants all: {again}" in capsys.readouterr().err
    assert submit("--draft") == 0
    assert "DRAFT" in (file.parent / "out" / "ISSUE.md").read_text()
    assert "DRAFT" in read_json(file.parent / "out" / INFO)["footnote"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            "--normalise dataset",
            4,
            "best.pth was evaluated with --normalise none: say that here too",
        ),
        ("--eps 0.031", 4, "there is no AutoAttack result at eps 0.031; there is AutoAttack at eps 8/255 on 12 images"),
        ("--eps 4/255", 2, "eps 4/255: RobustBench's board is at 8/255"),
        ("--norm L1", 2, "--norm L1: cifar10 has "),
        ("--seed median", 2, "--seed: said of a trained run, and wrn-10-1:best.pth is a checkpoint"),
        ("--additional-data maybe", 2, "--additional-data maybe: yes or no"),
        ("--name Carmon2019Unlabeled", 2, "RobustBench already has Carmon2019Unlabeled"),
    ],
)
def test_what_cannot_be_submitted_is_refused(
    evaluated: Path, words: str, code: int, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.rmtree(evaluated / "out")
    assert submit(*words.split()) == code
    assert said in capsys.readouterr().err
    assert not (evaluated / "out").exists()


def test_an_unreliable_result_is_refused(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = evaluated.glob("best.pth.eval.*.json")
    facts = read_json(path)
    facts["reliability"] |= {"verdict": "unreliable", "reasons": ["zero gradients"]}
    write_json(path, sealed(facts))
    assert submit() == 6
    assert "not reliable (its evaluation: zero gradients)" in capsys.readouterr().err


def test_what_is_said_of_a_checkpoint_is_not_said_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert robench("submit", "runs", "--paper", "fire") == 2


@pytest.mark.parametrize("lacking", [("name",), ("authors", "venue"), tuple(PAPER)])
def test_everything_that_must_be_said_is_asked_for_at_once(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    path = tmp_path / "paper.json"
    path.write_text(json.dumps({key: value for key, value in PAPER.items() if key not in lacking}))
    with pytest.raises(UsageError) as fault:
        told(str(path), "", "")
    lines = str(fault.value).splitlines()
    assert lines[1].strip() == f"{', '.join(lacking)}: with --paper, {path}"
    assert "--name" in lines[2]
    assert "--additional-data yes|no" in lines[3]


def test_a_paper_is_a_defenses_or_a_file(tmp_path: Path) -> None:
    its = told("fire", "", "yes")
    assert (its.name, its.paper["venue"], its.additional_data) == (made.NAME, "TPAMI 2022", True)
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(PAPER | {"additional_data": True, "key": NAME}))
    assert told(str(path), "", "") == told(str(path), NAME, "yes")
    assert told(str(path), "", "no").additional_data is False
    with pytest.raises(RobenchError):
        told("no-such-defense", NAME, "no")
    with pytest.raises(DataError, match=r"nowhere\.json is missing"):
        told("nowhere.json", NAME, "no")
