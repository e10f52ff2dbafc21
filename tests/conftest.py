"""Shared fixtures: a data set small enough to train on in a second."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

if os.environ.get("PYTEST_XDIST_WORKER"):  # before torch: also what the tests start shares the cores with others
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as the command line has it, for the same bits on a GPU
os.environ["ROBENCH_DATA"] = tempfile.mkdtemp(prefix="robench-tests-")  # not the user's data, nor published figures
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="robench-tests-")  # nor which code the user has named

import pytest
import torch
from hypothesis import settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import timm  # noqa: F401  # its import warns about torch.jit, once

import devices
from processes import FORKS
from weights_to_evaluate import initial

from robench_fire.datasets import digits
from robench_fire.devices import workers
from robench_fire.evaluation.autoattack import attack_sets, square
from robench_fire.evaluation.autoattack.attack_sets import AttackedBlock
from robench_fire.launching import local
from robench_fire.problem.dataset import Splits

settings.register_profile("ordinary", max_examples=30, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("ordinary")  # --hypothesis-profile thorough: other examples each time, and many


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)  # small networks: threads only get in each other's way


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Where a test computes: see tests/support/devices.py. On a GPU by deterministic kernels, so that runs compare."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    yield devices.begin(getattr(request, "param", "cpu"))
    devices.end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    devices.parametrised(metafunc)


def pytest_itemcollected(item: pytest.Item) -> None:
    devices.marked(item)


@pytest.fixture(scope="session")
def small() -> Splits:
    """256 training, 100 validation and 64 test images of real digits."""
    full = digits.DATASET.splits(Path())
    return Splits(full.train.take(slice(256)), full.validation, full.test.take(slice(64)))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file of untrained weights for digits."""
    torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), tmp_path / "mine.pt")
    return tmp_path / "mine.pt"


@pytest.fixture(scope="module")
def brief_attacks() -> Iterator[None]:
    """Targeted attacks aim at three classes, not nine, and Square asks 500 times, not 5,000: for tests of the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AttackedBlock, "targets", property(lambda attacked: range(2, 5)))
        for module in (square, attack_sets):
            patch.setattr(module, "QUERIES", 500)
        yield


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes are forked from one that has imported everything, instead of importing it each anew."""
    for module in (workers, local):
        monkeypatch.setattr(module, "CONTEXT", FORKS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """A file's tests stay in one worker: what it makes for all of them is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slow ones first, so that no worker is left alone with them at the end; long ones only if they are asked for.

    Of those the bundle, which other files share: while one worker makes it the next would have to wait.
    """
    if "long" not in config.option.markexpr:
        items[:] = [item for item in items if item.get_closest_marker("long") is None]
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, item.path.name != "test_bundle.py"))
