"""Evaluated checkpoints as rows: of one file, or of several of one method."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from command_line import ran
from weights_to_evaluate import initial

from robench_fire.boards.checkpoints import named, row_of, together
from robench_fire.comparison.compare import compare, sentence
from robench_fire.errors import DataError, UsageError
from robench_fire.statistics.summary import mean_std
from robench_fire.tables.choice import chosen_in
from robench_fire.tables.entries import CHECKPOINT, entries_in

IMAGES = 20


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and three checkpoints, all attacked by PGD-20 on the same images."""
    folder = tmp_path_factory.mktemp("checkpoints")
    few = ("--attack", "pgd20", "--examples", str(IMAGES), "--jobs", "1")
    ran(folder, "train", "madry", "digits", "--seed", "0", "--epochs", "2", *few)
    (weights,) = folder.rglob("weights.safetensors")
    (folder / "c0.safetensors").write_bytes(weights.read_bytes())
    for number in (1, 2):
        torch.manual_seed(number)
        torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), folder / f"c{number}.pt")
    for path in sorted(folder.glob("c?.*")):
        ran(folder, "eval", path.name, "--dataset", "digits", "--arch", "digits-cnn", *few)
    return folder


def test_files_are_named_alone_or_together(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(evaluated)
    assert named(["c1.pt", "Mine=c?.pt", "One=c0.safetensors"]) == {
        "c1.pt": [Path("c1.pt")], "Mine": [Path("c1.pt"), Path("c2.pt")], "One": [Path("c0.safetensors")],
    }  # fmt: skip
    assert len(named(["All=c*"])["All"]) == 3  # and nothing that lies beside them
    with pytest.raises(UsageError, match=r"--with c\?\.pt: 2 files; say what their row is called, NAME='c\?\.pt'"):
        named(["c?.pt"])
    with pytest.raises(UsageError, match="another one is called A"):
        named(["A=c1.pt", "A=c2.pt"])
    with pytest.raises(DataError, match="--with A=nowhere: no such file"):
        named(["A=nowhere"])


def test_several_checkpoints_of_a_method_are_one_row(evaluated: Path) -> None:
    facts = [json.loads(path.read_text()) for path in sorted(evaluated.glob("c?.*.json"))]
    entries = entries_in([evaluated], others=[f"Mine={evaluated}/c?.*[st]"])
    ours, mine = sorted(entries, key=lambda each: each.origin == CHECKPOINT)
    assert ours.row is not None
    assert (mine.method, mine.origin, mine.row, mine.seeds, mine.examples) == ("Mine", CHECKPOINT, None, "3", IMAGES)
    assert mine.pgd20 == mean_std([each["robust"] for each in facts])
    assert mine.clean == mean_std([each["clean"] for each in facts])
    assert mine.notes == ("3 checkpoints, our evaluation; not trained here.",)


def test_one_checkpoint_has_no_spread_and_can_be_called_otherwise(evaluated: Path) -> None:
    entries = entries_in([evaluated / "runs", evaluated / "c1.pt"])
    found = chosen_in(entries, labels=["c1.pt=My model", "Madry=Theirs"])
    assert {each.method for each in found} == {"Theirs", "My model"}
    (mine,) = [each for each in found if each.row is None]
    assert mine.pgd20 is not None
    assert (mine.pgd20.std, mine.seeds) == (None, "–")
    assert [each.method for each in chosen_in(entries, only=["c1.pt"])] == ["c1.pt"]
    with pytest.raises(UsageError, match=r"unknown row 'c9\.pt'"):
        chosen_in(entries, labels=["c9.pt=Mine"])


def test_the_table_takes_them_beside_runs(evaluated: Path) -> None:
    found = ran(evaluated, "table", "runs", "--with", "Mine=c?.pt", "--format", "csv").stdout
    assert [row["method"] for row in csv.DictReader(found.splitlines())] == ["Madry", "Mine"]


def test_the_same_weights_do_not_differ_from_their_run(evaluated: Path) -> None:
    (mine,) = map(row_of, together("Mine", [evaluated / "c0.safetensors"]))
    run = next(entry.row for entry in entries_in([evaluated / "runs"]) if entry.row)
    (found,) = compare([mine, run], "robust")
    assert (found.found.value, found.paired, found.found.images) == (0, True, IMAGES)
    (clean,) = compare([mine, run], "clean")
    assert "would be settled" not in sentence(clean)  # what its training takes is not known
    said = ran(evaluated, "compare", "runs", "Mine", "madry", "--with", "Mine=c?.pt").stdout
    assert "Mine" in said
    assert "20 images" in said


def test_what_was_not_evaluated_alike_is_said(evaluated: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.pt"
    torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), bare)
    with pytest.raises(DataError, match=r"bare\.pt was not evaluated: `robench eval "):
        together("Mine", [evaluated / "c1.pt", bare])
    ran(tmp_path, "eval", "bare.pt", "--dataset", "digits", "--arch", "digits-cnn", "--attack", "pgd20",
        "--examples", "10")  # fmt: skip
    with pytest.raises(DataError, match="its 2 files were not evaluated alike"):
        together("Mine", [evaluated / "c1.pt", bare])
    with pytest.raises(DataError, match=r"was not evaluated at eps 0\.3"):
        together("Mine", [bare], "0.3")
    torch.save(initial("digits-cnn", (1, 8, 8)).state_dict() | {"features.0.weight": torch.ones(8, 1, 3, 3)}, bare)
    with pytest.raises(DataError, match=r"bare\.pt was not evaluated"):  # as it is now
        together("Mine", [bare])
