"""Real CIFAR-10 images, fetched as a user would, through a small WideResNet and AutoAttack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluated_models import evaluate

from robench_fire.data import fetching
from robench_fire.errors import DataError
from robench_fire.problem import registry
from robench_fire.problem.dataset import Splits
from robench_fire.runs.compose import Request, compose
from robench_fire.statistics.summary import percent
from robench_fire.training.engine import train
from robench_fire.training.setup import Problem

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    folder = tmp_path_factory.mktemp("data")
    dataset = registry.load("datasets", "cifar10").module.DATASET
    try:
        fetching.fetch("cifar10", dataset, folder, lambda done, total, note: None)
    except DataError as fault:
        pytest.skip(f"no source of CIFAR-10 answers here: {fault}")
    return fetching.splits("cifar10", dataset, folder)


def test_the_real_images(cifar10: Splits) -> None:
    assert [len(split.labels) for split in cifar10] == [49_000, 1_000, 10_000]
    assert cifar10.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]  # cat, ship, ship, airplane, frog, ...
    means = cifar10.train.images.float().mean((0, 2, 3)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-3)
    assert cifar10.test.labels.bincount().tolist() == [1_000] * 10


def quiet(stage: str, done: int, total: int, note: str) -> None:
    pass


@pytest.mark.usefixtures("brief_attacks")
def test_fire_learns_on_a_few_hundred_images(cifar10: Splits, tmp_path: Path) -> None:
    settings = (("--set", "recipe.batch_size", "32"), ("--set", "recipe.attack.steps", "4"))
    composed = compose(Request(defense="fire", dataset="cifar10", arch="wrn-10-1", epochs=6, settings=settings))
    plan, few = composed.plan, cifar10.train.take(slice(192))
    problem = Problem(plan.defense, plan.threat, plan.recipe, few, cifar10.validation.take(slice(20)), 10)
    trained = train(composed.build, problem, seed=0, device=CPU, state_file=tmp_path / "state.pt")
    assert trained.curve[-1]["loss"] < trained.curve[0]["loss"]
    model = composed.build()
    model.load_state_dict(trained.weights)
    test = cifar10.train.take(slice(10))  # images it was trained on: a few hundred do not generalise
    given = {"num_classes": 10, "seed": 0, "batch_size": 10, "report": quiet}
    pgd, aa = (evaluate(attack, model, test, plan.claim, **given) for attack in ("pgd20", "aa"))  # type: ignore[arg-type]
    assert percent(pgd.clean) > 15  # chance is 10
    assert np.array_equal(pgd.clean, aa.clean)
    assert int(aa.robust.sum()) <= int(pgd.robust.sum())


def test_checkpoint_loads_in_robustbenchs_own_class(cifar10: Splits) -> None:
    from robench_fire.models.robustbench_package import architectures

    composed = compose(Request(defense="fire", dataset="cifar10", arch="wrn-10-1"))
    own = composed.build().eval()
    theirs = architectures().wide_resnet.WideResNet(depth=10, widen_factor=1, sub_block1=False).eval()
    theirs.load_state_dict(own.state_dict(), strict=True)
    x = cifar10.test.images[:4].float() / 255
    with torch.no_grad():
        assert torch.equal(own(x), theirs(x))
