"""Evaluation: bad images, bad models and wrong normalisation are refused before any attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluated_models import SMALL, quiet, run, taught
from safetensors.torch import save_file
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.datasets import digits
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation import checks
from robench_fire.evaluation.evaluate import SETS, attacks_of
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.models.normalisation import Standardise
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Dataset, Split, Splits
from robench_fire.runs.model_source import ModelSource

MEAN, STD = (1.0,), (0.5,)  # so far from none that a network notices


@pytest.fixture(scope="module")
def picky(small: Splits) -> nn.Module:
    """A network that wants its images normalised with MEAN and STD."""
    return taught(Standardise(MEAN, STD)(to_float(small.train.images)), small.train.labels).eval()


@pytest.mark.parametrize(("shift", "fine"), [(0.0, True), (1e-7, True), (1e-3, False), (float("nan"), False)])
def test_images_outside_the_unit_range(shift: float, fine: bool) -> None:
    images = torch.rand(2, 1, 8, 8)
    images[0, 0, 0, 0] = 1 + shift
    if fine:
        assert checks.images(images).max() <= 1
    else:
        with pytest.raises(DataError, match=r"\[0, 1\]"):
            checks.images(images)


def returning(change: Callable[[Tensor], object]) -> nn.Module:
    class Returning(DigitsCNN):
        def forward(self, x: Tensor) -> Tensor:
            return change(super().forward(x))  # type: ignore[return-value]

    return Returning()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda logits: (logits, logits), "returns a tuple, not logits"),
        (lambda logits: logits[:, :7], r"returns \(\d+, 7\) .* logits for 10 classes"),
        (lambda logits: logits[:, 0], r"returns \(\d+,\) .* logits for 10 classes"),
        (lambda logits: logits.mean(0, keepdim=True), r"returns \(1, 10\) "),
        (lambda logits: logits * float("nan"), "not finite"),
    ],
    ids=["tuple", "7 classes", "one number", "one row for all", "nan"],
)
def test_anything_but_finite_logits_is_refused(change: Callable[[Tensor], object], said: str, small: Splits) -> None:
    with pytest.raises(DataError, match=said):
        run("pgd20", returning(change), small.test)


def test_no_images_are_refused(model: nn.Module, small: Splits) -> None:
    with pytest.raises(DataError, match="no images"):
        run("pgd20", model, small.test.take(slice(0)))


def test_wrong_normalisation_is_refused(model: nn.Module, picky: nn.Module) -> None:
    test, layer = digits.DATASET.splits(Path()).test, Standardise(MEAN, STD)
    x, label = to_float(test.images), test.labels
    checks.wrong_normalisation(nn.Sequential(layer, picky), x, label, "none", MEAN, STD)
    checks.wrong_normalisation(model.eval(), x, label, "none", MEAN, STD)
    with pytest.raises(DataError, match=r"but \d+\.\d % with one normalisation undone: .* twice"):
        checks.wrong_normalisation(nn.Sequential(layer, layer, picky), x, label, "none", MEAN, STD)
    with pytest.raises(DataError, match=r"is \d+\.\d % with --normalise none, but \d+\.\d % with --normalise data"):
        checks.wrong_normalisation(picky, x, label, "none", MEAN, STD)
    with pytest.raises(DataError, match=r"with --normalise dataset, but \d+\.\d % with --normalise none"):
        checks.wrong_normalisation(nn.Sequential(layer, layer, picky), x, label, "dataset", MEAN, STD)
    checks.wrong_normalisation(nn.Sequential(layer, picky), x, label, "dataset", MEAN, STD)


def test_a_few_images_say_nothing_about_normalisation(model: nn.Module) -> None:
    test = digits.DATASET.splits(Path()).test
    for image, label in zip(to_float(test.images), test.labels, strict=True):  # some are right by chance
        checks.wrong_normalisation(
            model.eval(), image[None], label[None], "none", digits.DATASET.mean, digits.DATASET.std
        )


class Altered(ModelSource):
    """A source of a data set like digits, but for two entries."""

    def parts(self) -> Dataset:
        return replace(digits.DATASET, num_classes=3 if self.dataset == "three" else 10, mean=MEAN, std=STD)


def altered(dataset: str, weights: Path) -> ModelSource:
    stem = weights.with_suffix(".eval")
    return Altered(
        weights=weights, stem=stem, dataset=dataset, arch="digits-cnn", normalise="none", claim=SMALL, trained=SMALL
    )


def test_a_checkpoint_without_its_normalisation_is_refused_before_any_attack(
    picky: nn.Module, small: Splits, tmp_path: Path
) -> None:
    source = altered("digits", tmp_path / "mine.safetensors")
    save_file(picky.state_dict(), source.weights)
    with pytest.raises(DataError, match="with --normalise dataset; say how its training script normalised"):
        evaluate_source(source, small.test, Evaluations(attacks=("pgd20",)), torch.device("cpu"), quiet)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == [source.weights]


def test_an_attack_that_needs_more_classes_is_refused_before_any_work() -> None:
    nothing, wanted = Split(torch.zeros(0), torch.zeros(0)), Evaluations(attacks=("pgd20", "apgd-t"))
    with pytest.raises(UsageError, match="--attack apgd-t needs 4 classes, three has 3; use --attack aa"):
        evaluate_source(altered("three", Path("none")), nothing, wanted, torch.device("cpu"), quiet)


SETS_OF_FEW = {
    "aa": ("apgd-ce fab-t square", "apgd-ce apgd-dlr fab-t square"),
    "aa-plus": ("apgd-ce fab square fab-t", "apgd-ce apgd-dlr fab square fab-t"),
    "aa-rand": ("apgd-ce", "apgd-ce apgd-dlr"),
    "square": ("square", "square"),
}


@pytest.mark.parametrize("name", SETS_OF_FEW)
def test_sets_of_attacks_on_few_classes(name: str) -> None:
    found = [" ".join(each.name for each in attacks_of(name, classes)) for classes in (2, 3)]
    assert tuple(found) == SETS_OF_FEW[name]
    assert attacks_of(name, 4) == SETS[name]


def test_what_is_left_out_is_said_beforehand() -> None:
    said = "coins has 2 classes: aa is apgd-ce, fab-t, square, as DLR losses need more (docs/evaluation.md)"
    assert Evaluations(attacks=("pgd20", "aa")).remarks("coins", 2) == [said]
    assert Evaluations(attacks=("pgd20", "aa")).remarks("dice", 6) == []
