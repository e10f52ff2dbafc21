"""Runs on images and with a network of the user's own: both are held against the hashes in the plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import verified_runs as do
from own_images import class_folders, prepared
from own_networks import BASE, written
from verified_runs import copied, edited, seeds, wrong

from robench_fire.boards.rows import collect
from robench_fire.devices import meters
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.seed import judge_seed, run_seed
from robench_fire.launching.training_stage import Workplace
from robench_fire.runs.compose import Request, compose
from robench_fire.tables.render import publish
from robench_fire.verification.finding import Finding
from robench_fire.verification.verify import verify

MINE = BASE.replace("import torch\n", "import torch\nfrom scale import SCALE\n") + (
    "class Net(Base):\n    def forward(self, x):\n        return super().forward(SCALE * x)\n"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, brief_attacks: None) -> Path:
    """A run of one epoch, with data and code that it was made of; not to be changed."""
    folder = tmp_path_factory.mktemp("own")
    own = prepared(class_folders(folder / "numbers", each=10), folder / "data")
    written(folder / "code", "SCALE = 2\n", "scale.py")
    net = written(folder / "code", MINE)
    request = Request(defense="madry", dataset="numbers", data=own, eps="0.1", epochs=1, arch=f"{net}:Net")
    place = Workplace(output=folder / "runs", data=folder / "data", device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(meters.SIZES, "cpu", meters.SIZES["cpu"][:1])  # the larger product takes half a second
        for step in (run_seed, judge_seed):
            step(request, 0, Evaluations(attacks=("aa",), examples=12), place, do.quiet)
    assert compose(request).plan.data == own
    return folder


@pytest.fixture
def work(home: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    for name in ("runs", "data"):
        copied(home / name, tmp_path / name)
    return tmp_path


def verified(work: Path, what: str = "runs", recompute: int | None = None) -> list[Finding]:
    return verify(work / what, work / "data", recompute, torch.device("cpu"), do.quiet)


def images_of(work: Path) -> Path:
    (path,) = work.glob("data/own/numbers/*/test.images.npy")
    return path


def test_what_was_written_agrees_and_is_checked(work: Path) -> None:
    found = verified(work, recompute=5)
    assert {each.passed for each in found} == {True}
    assert {"test images", "network code", "clean predictions"} <= {each.what for each in found}
    publish(collect(work / "runs"), work / "board")
    assert {each.what: each.passed for each in verified(work, "board")}["test images"]


def test_images_that_are_not_here_are_said_not_refused(work: Path) -> None:
    shutil.rmtree(work / "data")
    (found,) = [each for each in verified(work) if each.what == "test images"]
    assert found.passed is None
    assert "the images of numbers (" in found.found
    assert "are not in " in found.found


def test_a_changed_pixel_of_the_prepared_images_is_found(work: Path) -> None:
    stored = np.load(images_of(work))
    stored[0, 0, 0, 0] ^= 1
    np.save(images_of(work), stored)
    assert "holds other images: their SHA-256 is " in wrong(verified(work))["test images"]


def test_an_evaluation_on_other_images_is_found(work: Path) -> None:
    edited("eval.aa*.json", "images_sha256", value="0" * 64, again=True)(seeds(work / "runs"))
    assert "images_sha256 is 0000" in wrong(verified(work))["test images"]
    edited("eval.aa*.json", "data", value={"sha256": "1" * 64}, again=True)(seeds(work / "runs"))
    assert "the SHA-256 of its data is 1111" in wrong(verified(work))["test images"]


@pytest.mark.parametrize("name", ["net.py", "scale.py"])
def test_a_changed_or_missing_copy_of_the_code_is_found(work: Path, name: str) -> None:
    (run,) = seeds(work / "runs")
    path = run.folder / name
    path.write_text(path.read_text() + "\n# changed\n")
    arch = str(json.loads((run.folder / "plan.json").read_text())["recipe"]["arch"])
    assert f"not {arch.partition('@')[2][:12]}" in wrong(verified(work))["network code"]
    path.unlink()
    assert f"{name}: it is not here" in wrong(verified(work))["network code"]


@pytest.mark.parametrize("name", ["net.py", "scale.py"])
def test_any_byte_of_the_code_is_found(work: Path, name: str) -> None:
    (run,) = seeds(work / "runs")
    before, draw = (run.folder / name).read_bytes(), np.random.default_rng(0)
    for place in draw.integers(len(before), size=30):
        after = bytearray(before)
        after[place] = (after[place] + draw.integers(1, 256)) % 256
        (run.folder / name).write_bytes(after)
        assert set(wrong(verified(work))) == {"network code"}


def test_code_beside_it_is_no_part_of_it(work: Path) -> None:
    (run,) = seeds(work / "runs")
    (run.folder / "more.py").write_text("")
    (found,) = [each for each in verified(work) if each.passed is None]
    assert (found.what, Path(found.file).name) == ("other files", "more.py")
