"""Accuracy under common corruptions: what is recorded, resumed, refused and shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import ran
from corrupted_files import layout
from small_evaluation import TEST, placed

from robench_fire.data.batches import to_float
from robench_fire.data.corruptions.made import corrupted
from robench_fire.data.corruptions.names import CORRUPTIONS, MADE
from robench_fire.errors import DataError
from robench_fire.evaluation.corruptions import evaluate, stored
from robench_fire.evaluation.evaluator import Evaluations, Evaluator
from robench_fire.files import sealed, write_json
from robench_fire.runs.model_source import ModelSource
from robench_fire.statistics.masks import unpacked
from robench_fire.statistics.summary import percent

CPU = torch.device("cpu")
COUNT = 20


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    return placed(tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in the layout of CIFAR-10-C."""
    return layout(tmp_path_factory.mktemp("corrupted") / "C", TEST)


def evaluated(source: ModelSource, folder: Path | None = None, told: Any = lambda *_: None) -> dict[str, Any]:
    evaluator = Evaluator(source, TEST, Evaluations(examples=COUNT), CPU)
    return evaluate.evaluate_one(evaluator, folder, TEST, told)


def record_of(source: ModelSource, kind: str = stored.HERE) -> Path:
    return stored.place(source.stem, kind, COUNT, 0)


def test_accuracies_are_the_models_on_the_corrupted_images(source: ModelSource) -> None:
    found = evaluated(source)
    model, few = source.load(CPU), TEST.take(slice(COUNT))
    for name, severity in (("fog", 1), ("impulse_noise", 5)):
        right = model(to_float(corrupted(few.images, name, severity))).argmax(1) == few.labels
        assert found["corruptions"][name]["accuracy"][severity - 1] == percent(right)
        mask = unpacked(found["corruptions"][name]["masks"][severity - 1], COUNT)
        assert mask.tolist() == right.tolist()


def test_the_mean_is_over_corruptions_and_severities(source: ModelSource) -> None:
    found = evaluated(source)
    assert list(found["corruptions"]) == list(MADE)
    every = [value for each in found["corruptions"].values() for value in each["accuracy"]]
    assert found["accuracy"] == pytest.approx(sum(every) / 70)
    assert found["error"] == pytest.approx(100 - found["accuracy"])
    assert found["source"] == "made"
    assert found == stored.read(record_of(source))


def test_it_goes_on_with_the_first_corruption_that_is_missing(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluated(source)
    record_of(source).unlink()
    seen: list[str] = []
    real = evaluate._corruption

    def watched(evaluator: Evaluator, folder: Path | None, test: Any, name: str) -> dict[str, Any]:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(name)
        return real(evaluator, folder, test, name)

    monkeypatch.setattr(evaluate, "_corruption", watched)
    with pytest.raises(KeyboardInterrupt):
        evaluated(source)
    assert not stored.finished(stored.read(record_of(source)))
    monkeypatch.setattr(evaluate, "_corruption", real)
    begun = stored.read(record_of(source))["corruptions"]
    again = evaluated(source)
    assert {name: again["corruptions"][name] for name in begun} == begun  # its seconds too: not made again
    assert again["accuracy"] == whole["accuracy"]
    monkeypatch.setattr(evaluate, "_corruption", None)
    assert evaluated(source) == again  # nothing is left to do


def test_other_weights_begin_anew(source: ModelSource) -> None:
    evaluated(source)
    source.weights.write_bytes(source.weights.read_bytes()[:-4] + b"\0\0\0\0")
    found = evaluated(source)
    assert found["weights_sha256"] == source.sha256()


def test_a_changed_record_is_refused(source: ModelSource) -> None:
    found = evaluated(source)
    found["corruptions"]["fog"]["accuracy"][0] -= 2.5
    write_json(record_of(source), sealed(found))  # as somebody would who knows of seals
    with pytest.raises(DataError, match="the accuracies of fog are not those of its masks"):
        evaluated(source)


def test_files_are_evaluated_on_their_first_images(source: ModelSource, files: Path) -> None:
    made, read = evaluated(source), evaluated(source, files)
    assert list(read["corruptions"]) == list(CORRUPTIONS)
    assert read["source"] == "files"
    for name in MADE:
        assert read["corruptions"][name]["accuracy"] == made["corruptions"][name]["accuracy"]
        assert read["corruptions"][name]["images_sha256"] == made["corruptions"][name]["images_sha256"]
    assert record_of(source, stored.FILES).exists()  # beside the other


WORDS = "corruptions net.safetensors --dataset digits --arch digits-cnn --examples 20".split()


def test_the_command_says_where_the_images_come_from(source: ModelSource, tmp_path: Path, files: Path) -> None:
    shown = ran(tmp_path, *WORDS).stdout
    assert "accuracy in percent on 20 test images" in shown
    assert "The images were made here" in shown
    assert "frost" not in shown.partition("The images were made here")[0]
    shown = ran(tmp_path, *WORDS, "--corruptions-dir", str(files)).stdout
    assert "frost" in shown
    assert "made here" not in shown


def test_json_has_the_accuracies_without_masks(source: ModelSource, tmp_path: Path) -> None:
    (found,) = json.loads(ran(tmp_path, *WORDS, "--json").stdout)["corruptions"]
    assert found["corruptions"]["fog"] == {"accuracy": evaluated(source)["corruptions"]["fog"]["accuracy"]}


def test_what_cannot_be_used_ends_with_a_line(source: ModelSource, tmp_path: Path, files: Path) -> None:
    folder = shutil.copytree(files, tmp_path / "C")
    (folder / "fog.npy").unlink()
    assert "fog.npy is missing" in ran(tmp_path, *WORDS, "--corruptions-dir", "C", code=4).stderr
    shutil.rmtree(folder)
    assert "C is no folder" in ran(tmp_path, *WORDS, "--corruptions-dir", "C", code=4).stderr
    assert not list(tmp_path.glob("*corruptions*"))


def test_files_in_the_data_folder_are_found(source: ModelSource, tmp_path: Path) -> None:
    class Named:
        def parts(self) -> Any:
            return type("Parts", (), {"corrupted": "SETS-C"})()

    named: Any = Named()
    assert evaluate.source_folder(named, evaluate.Asked(), tmp_path) is None
    (tmp_path / "SETS-C").mkdir()
    assert evaluate.source_folder(named, evaluate.Asked(), tmp_path) == tmp_path / "SETS-C"
    assert evaluate.source_folder(named, evaluate.Asked(folder=Path("other")), tmp_path) == Path("other")
    assert evaluate.source_folder(source, evaluate.Asked(), tmp_path) is None  # digits have no official ones
