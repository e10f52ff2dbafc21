"""RobustBench's own code and `robench submit`: the zoo's entry, a zoo left as it was, the rules of admission."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import bundle_edits as edits
import numpy as np
import pytest
import submission_runs as made
import torch
from shared_folder import shared_folder
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.datasets import cifar10, digits
from robench_fire.errors import DataError, RecipeError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.models import architectures, normalisation
from robench_fire.problem import registry
from robench_fire.runs import folders
from robench_fire.submission.checks.admission import admission
from robench_fire.submission.zoo_entry import CARRIED, entry_of, registered

pytestmark = pytest.mark.slow

CLEAN, LOADER = "clean accuracy by RobustBench", "RobustBench's loader"
AA = f"eval.aa-Linf-8_255-{made.TEST}"
CARRIED_MODULE = CARRIED.removesuffix(".py").replace("/", ".")


@pytest.fixture(scope="module", autouse=True)
def _cut() -> Iterator[None]:
    with made.cut():
        yield


@pytest.fixture(scope="module")
def bundle(_cut: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_folder(tmp_path_factory, "submission", made.written)


def failed(folder: Path) -> dict[str, str]:
    """The checks that do not pass, and what they say."""
    return {each.name: each.found for each in made.checked(folder) if not each.passed}


@pytest.mark.parametrize(("dataset", "norm"), [("cifar10", "Linf"), ("cifar10", "L2"), ("cifar100", "Linf")])
@pytest.mark.parametrize(
    ("arch", "how"),
    [
        ("wrn-10-1", "none"), ("wrn-10-1", "dataset"), ("wrn-16-2", "image"), ("resnet-18", "none"),
        ("preact-resnet-18", "none"), ("timm/resnet18", "none"), ("timm/resnet18", "dataset"),
    ],
)  # fmt: skip
def test_the_entry_builds_the_network_that_was_trained(arch: str, how: str, dataset: str, norm: str) -> None:
    from robustbench.model_zoo import model_dicts
    from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel

    parts = registry.load("datasets", dataset).module.DATASET
    ours = architectures.build(arch, parts.shape, parts.num_classes, how, parts.mean, parts.std).eval()
    with registered(entry_of("Someone2030New", dataset, parts, norm, arch, how, "")):
        board = model_dicts[BenchmarkDataset(dataset)][ThreatModel(norm)]
        theirs = board["Someone2030New"]["model"]().eval()
        assert next(iter(board)) == "Someone2030New"
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = to_float(made.splits().test.images[:2])
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert "Someone2030New" not in model_dicts[BenchmarkDataset(dataset)][ThreatModel(norm)]


@pytest.mark.parametrize(
    "arch",
    ["vit", "wrn-10", "wrn-11-1", "wrn-10-1-1", "timm", "timm/nothing", "", "digits-cnn", "wrn-10-1\n", "WRN-10-1"],
)
def test_what_is_no_architecture_for_these_images_has_no_entry(arch: str) -> None:
    with pytest.raises(RecipeError):
        entry_of(made.NAME, "cifar10", cifar10.DATASET, "Linf", arch, "none", "")


@pytest.mark.parametrize(
    ("arch", "how", "drive"),
    [("digits-cnn", "none", ""), ("timm/resnet18", "mean", ""), ("timm/resnet18", "none", "'+")],
)
def test_what_robustbench_does_not_have_has_no_entry(arch: str, how: str, drive: str) -> None:
    with pytest.raises(DataError) as fault:
        entry_of(made.NAME, "digits", digits.DATASET, "Linf", arch, how, drive)
    assert fault.value.exit_code == 4


@pytest.mark.parametrize("how", ["dataset", "image"])
def test_a_class_that_robustbench_lacks_comes_with_the_patch(how: str, tmp_path: Path) -> None:
    brought = entry_of(made.NAME, "cifar10", cifar10.DATASET, "Linf", "wrn-10-1", how, "")
    (tmp_path / "zoo_entry.patch").write_text(brought.patch())
    before, after = made.patched(tmp_path / "zoo_entry.patch", tmp_path / "clone")
    assert after == brought.added(before)
    assert (tmp_path / "clone" / CARRIED).read_text() == brought.carried == inspect.getsource(normalisation)
    assert after.count("import Standardise, StandardiseEachImage\n") == 1
    assert "robench_fire" not in brought.carried


def test_a_network_behind_a_normalisation_layer_is_submitted(tmp_path: Path) -> None:
    """Of one seed five times, to be quick."""
    folder = made.train(tmp_path, 1, Evaluations(attacks=("aa",), eps=("8/255",)), **{"recipe.normalise": "dataset"})
    for seed in range(1, 5):
        made.copied(folder / "seed-0", folder / f"seed-{seed}")
    for run in folders.find(folder):
        facts = run.read(f"{AA}.json")
        run.write(f"{AA}.json", facts | {"reliability": facts["reliability"] | {"siblings": run.siblings()}})
    out = tmp_path / "out"
    assert all(each.passed for each in made.submitted(folder, out))
    assert (out / "architectures" / "input_normalisation.py").read_text() == inspect.getsource(normalisation)
    assert "nn.Sequential(Standardise((0.4914, 0.4822, 0.4465), (0.2471," in (out / "zoo_entry.patch").read_text()
    assert "- [x] I use an architecture that is **not** included" in (out / "ISSUE.md").read_text()
    assert CARRIED in (out / "CHECKLIST.md").read_text()
    assert CARRIED_MODULE not in sys.modules
    for change in (lambda path: path.write_text("import os\n"), Path.unlink):
        change(out / "architectures" / "input_normalisation.py")
        edits.sum_up(out)
        assert set(failed(out)) == {"documents"}


def robustbench() -> dict[str, Any]:
    """What a check changes for its time."""
    from robustbench import eval as evaluation
    from robustbench.model_zoo import model_dicts

    zoo = {(data, threat): list(names) for data, boards in model_dicts.items() for threat, names in boards.items()}
    return {
        "zoo": zoo, "boards": {data: id(boards) for data, boards in model_dicts.items()}, "folder": Path.cwd(),
        "images": evaluation.load_clean_dataset, "carried": CARRIED_MODULE in sys.modules, "path": list(sys.path),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("robustbench.utils.list_available_models", {"documents"}),
        ("robustbench.utils.get_leaderboard_latex", {"documents"}),
        ("robustbench.utils.load_model", {LOADER}),
        ("robustbench.eval.AutoAttack", {"robustbench.eval.benchmark"}),
        ("robustbench.eval.clean_accuracy", {CLEAN, "perturbed images", "robustbench.eval.benchmark"}),
        ("robench_fire.submission.checks.check.admission", {"admission"}),
        ("robench_fire.submission.checks.proof.Pgd", {"images claimed robust"}),
        ("robench_fire.submission.zoo_entry._executed", {"documents", LOADER}),
    ],
)
def test_robustbench_is_left_as_it_was_when_something_breaks(
    bundle: Path, place: str, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: Any, **named: Any) -> None:
        raise RuntimeError("broken inside\nand a long tale")

    before = robustbench()
    with monkeypatch.context() as patch:
        patch.setattr(place, breaks)
        assert failed(bundle) == dict.fromkeys(names, "RuntimeError: broken inside")
    assert robustbench() == before
    assert made.NAME not in str(before["zoo"])


@pytest.mark.parametrize("how", ["none", "image"])
def test_robustbench_is_left_as_it_was_when_the_body_breaks(bundle: Path, how: str) -> None:
    before, added = robustbench(), entry_of(made.NAME, "cifar10", cifar10.DATASET, "Linf", "wrn-10-1", how, "")
    with suppress(KeyError), registered(added):
        assert made.NAME in str(robustbench()["zoo"])
        assert robustbench()["carried"] is (how == "image")
        raise KeyError("broken inside")
    assert robustbench() == before


def test_robustbench_is_left_as_it_was(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = robustbench()
    assert failed(bundle) == {}
    assert robustbench() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("clean", "robust", "passed"),
    [(0, 0, True), (1, 0, False), (-1, 0, False), (0, 2, True), (0, -2, True), (0, 3, False), (0, -3, False)],
)
def test_robustbenchs_benchmark_may_differ_by_two_robust_images(
    bundle: Path, clean: int, robust: int, passed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustbench import eval as evaluation

    images, masks = to_float(made.splits().test.images), np.load(bundle / "evidence" / "masks.npy")

    def benchmark(model: nn.Module, n_examples: int, **named: Any) -> tuple[float, float]:
        """What our masks say of the images that it is given, but for these."""
        x, _ = evaluation.load_clean_dataset(None, n_examples)
        assert (named["threat_model"], named["eps"], len(x)) == ("Linf", 8 / 255, n_examples)
        index = [int((images == each).flatten(1).all(1).nonzero()[0]) for each in x]
        assert masks[1, index].any()
        assert not masks[1, index].all()
        return (masks[0, index].sum() + clean) / n_examples, (masks[1, index].sum() + robust) / n_examples

    monkeypatch.setattr("robustbench.eval.benchmark", benchmark)
    found = {each.name: each for each in made.checked(bundle, examples=12)}["robustbench.eval.benchmark"]
    assert found.passed is passed
    assert found.found.startswith("of 12 images ")


class Plain(nn.Module):
    """A linear classifier of what ``change`` makes of its images."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda x: x, out: nn.Module | None = None) -> None:
        super().__init__()
        self.change, self.last, self.out = change, nn.Linear(3 * 32 * 32, 10), out or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.last(self.change(x).flatten(1)))  # type: ignore[no-any-return]


def optimised(x: Tensor) -> Tensor:
    with torch.enable_grad():
        start = x.detach().clone().requires_grad_()
        (grad,) = torch.autograd.grad((start**2).sum(), start)
    return x - 0.1 * grad


EVAL, SAME, SLOPE, LOOP, LOGITS = (
    "eval mode", "deterministic forward pass", "non-zero gradients with respect to the input",
    "no optimisation loop at inference", "returns logits",
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "training", "wrong"),
    [
        (Plain(), False, set()),
        (Plain(), True, {EVAL}),
        (Plain(out=nn.Dropout(0.5)), True, {EVAL, SAME}),
        (Plain(out=nn.Dropout(0.5)), False, set()),
        (Plain(lambda x: x + 0.1 * torch.randn_like(x)), False, {SAME}),
        (Plain(lambda x: x + 0 * x.round() - x + x.round()), False, {SLOPE}),
        (Plain(torch.round), False, {SLOPE}),
        (Plain(optimised), False, {LOOP}),
        (Plain(out=nn.Softmax(1)), False, {LOGITS}),
    ],
    ids=["plain", "in training", "dropout in training", "dropout", "noise", "hidden rounding", "rounding", "loop",
         "softmax"],
)  # fmt: skip
def test_robustbenchs_rules_of_admission(model: nn.Module, training: bool, wrong: set[str]) -> None:
    images, labels = made.splits().test
    found = admission(model.train(training), to_float(images), labels)
    assert [each.name for each in found] == [EVAL, SAME, SLOPE, LOOP, LOGITS]
    assert {each.name for each in found if not each.passed} == wrong
