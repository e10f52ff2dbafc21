"""Models of RobustBench's zoo: found by name, downloaded, evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from weights_to_evaluate import CPU, named

from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.files import sha256
from robench_fire.models import robustbench_zoo
from robench_fire.problem.dataset import Split
from robench_fire.runs.folders import read_json

pytestmark = pytest.mark.slow

HTML = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"


SMALLEST = "Addepalli2021Towards_RN18"  # a ResNet-18, in the zoo once


Zoo = dict[tuple[str, str], dict[str, Any]]


def quiet(stage: str, done: int, total: int, note: str) -> None:
    pass


@pytest.fixture(scope="module")
def entries() -> Zoo:
    return robustbench_zoo._models()


def test_the_zoo_is_searched_by_name(entries: Zoo) -> None:
    assert robustbench_zoo.find("Carmon2019Unlabeled", "", "") == ("cifar10", "Linf")
    assert robustbench_zoo.find("Standard", "cifar10", "L2") == ("cifar10", "L2")
    with pytest.raises(
        UsageError, match=r"more than once.* --dataset cifar10 --norm Linf, --dataset cifar10 --norm L2"
    ):
        robustbench_zoo.find("Standard", "cifar10", "")
    with pytest.raises(UsageError, match="near it are Carmon2019Unlabeled"):
        robustbench_zoo.find("Carmon2019Unlabelled", "", "")
    with pytest.raises(UsageError, match="zoo has no 'Carmon2019Unlabeled'"):
        robustbench_zoo.find("Carmon2019Unlabeled", "cifar100", "")


def test_a_name_of_the_zoo_names_a_model(entries: Zoo, tmp_path: Path) -> None:
    found = named("rb:Standard", "cifar10", norm="L2", folder=tmp_path)
    assert (found.dataset, found.claim.norm, str(found.claim.eps)) == ("cifar10", "L2", "0.5")
    assert found.weights == tmp_path / "cifar10" / "L2" / "Standard.pt"
    with pytest.raises(UsageError, match="unknown data set 'imagenet'"):
        named("rb:Salman2020Do_R18")


def test_an_ensemble_has_several_files_and_hashes(entries: Zoo, tmp_path: Path) -> None:
    paths = robustbench_zoo.files(tmp_path, "Chen2020Adversarial", "cifar10", "Linf")
    names = [f"Chen2020Adversarial.pt_m{number}.pt" for number in range(3)]
    assert paths == [tmp_path / "cifar10" / "Linf" / name for name in names]
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_text(path.name)
    found = named("rb:Chen2020Adversarial", folder=tmp_path).sha256()
    assert found == "+".join(sha256(path) for path in paths)


def place(folder: Path) -> Path:
    return folder / "cifar10" / "Linf" / f"{SMALLEST}.pt"


def downloads(monkeypatch: pytest.MonkeyPatch, found: Callable[[Path], None]) -> None:
    monkeypatch.setattr("robustbench.utils.download_gdrive_new", lambda _, path: found(Path(path)))


@pytest.mark.parametrize("there", [True, False])
def test_a_model_of_the_zoo_is_evaluated(
    there: bool, entries: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    original = entries["cifar10", "Linf"][SMALLEST]["model"]().eval()

    def arrives(path: Path) -> None:
        torch.save({f"module.{name}": value for name, value in original.state_dict().items()}, path)

    def unwanted(path: Path) -> None:
        raise AssertionError("it is there")

    downloads(monkeypatch, unwanted if there else arrives)
    if there:
        place(tmp_path).parent.mkdir(parents=True)
        arrives(place(tmp_path))
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        logits = original(images / 255)
    source, wanted = named(f"rb:{SMALLEST}", folder=tmp_path), Evaluations(attacks=("pgd20",), eps=("0",))
    test = Split(images, logits.argmax(1))
    (facts,) = evaluate_source(source, test, wanted, CPU, quiet)
    assert (facts["arch"], facts["clean"], facts["robust"]) == (f"rb:{SMALLEST}", 100.0, 100.0)
    assert facts["weights_sha256"] == sha256(place(tmp_path))
    assert read_json(place(tmp_path).with_name(f"{SMALLEST}.pt.eval.pgd20-Linf-0-6.json")) == facts
    with torch.no_grad():
        assert torch.equal(source.load(CPU)(images / 255), logits)


def fails(path: Path) -> None:
    raise OSError("no network")


@pytest.mark.parametrize(
    ("download", "said"),
    [
        (fails, r"cannot be loaded \(OSError: no network\); download it from the zoo's page to {path}"),
        (lambda path: path.write_bytes(HTML), "{path} is an HTML page"),
        (lambda path: path.write_bytes(b"half"), r"cannot be loaded \(\w+: .*is {path} the right file"),
    ],
    ids=["no network", "html", "half a file"],
)
def test_a_model_that_cannot_be_downloaded_is_said_with_its_place(
    download: Callable[[Path], None], said: str, entries: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads(monkeypatch, download)
    with pytest.raises(DataError, match=said.format(path=place(tmp_path))):
        robustbench_zoo.load(tmp_path, SMALLEST, "cifar10", "Linf")
    nothing = Split(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(DataError, match=said.format(path=place(tmp_path))):
        evaluate_source(named(f"rb:{SMALLEST}", folder=tmp_path), nothing, Evaluations(), CPU, quiet)


def test_a_web_page_in_the_place_of_a_model_is_refused(entries: Zoo, tmp_path: Path) -> None:
    place(tmp_path).parent.mkdir(parents=True)
    place(tmp_path).write_bytes(HTML)
    with pytest.raises(DataError, match=f"{place(tmp_path)} is an HTML page saved under this name"):
        named(f"rb:{SMALLEST}", folder=tmp_path).load(CPU)
