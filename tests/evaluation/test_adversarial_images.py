"""The images that broke a model: kept while an evaluation runs, one file in the end, whoever made which part."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from small_evaluation import FULL, NAME, TEST, beside, placed, run, trained

from robench_fire.data.batches import to_float
from robench_fire.errors import DataError
from robench_fire.evaluation import adversarial_images, resumable
from robench_fire.evaluation.record import Block, Record
from robench_fire.problem.threat import THREATS
from robench_fire.quantity import Quantity
from robench_fire.runs.model_source import ModelSource

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("brief_attacks")]

CPU = torch.device("cpu")


def mask(text: str) -> np.ndarray:
    return np.array([each == "1" for each in text])


def pictures(*values: float) -> np.ndarray:
    """Images of 2 x 2 of one colour each."""
    return np.stack([np.full((1, 2, 2), value, np.float32) for value in values])


WEIGHTS = "0123456789abcdef" * 4


def kept(folder: Path) -> Record:
    """Two blocks of 4 and 3 images after two attacks, and the images of their six broken ones in ``folder``."""
    record = Record({"batch_size": 4, "weights_sha256": WEIGHTS})
    record.blocks[1] = Block(mask("111"), {"one": mask("101"), "two": mask("000")})
    record.blocks[0] = Block(mask("1101"), {"one": mask("0001"), "two": mask("0000")})
    adversarial_images.keep(folder, 0, "one", WEIGHTS, np.array([0, 1]), pictures(0.0, 0.1))
    adversarial_images.keep(folder, 1, "two", WEIGHTS, np.array([0, 2]), pictures(0.4, 0.6))
    adversarial_images.keep(folder, 0, "two", WEIGHTS, np.array([3]), pictures(0.3))
    adversarial_images.keep(folder, 1, "one", WEIGHTS, np.array([1]), pictures(0.5))
    return record


def part(folder: Path, name: str) -> Path:
    (found,) = folder.glob(f"{name}-*")
    return found


def gathered(folder: Path, record: Record) -> list[str]:
    return adversarial_images.gather(folder / "adv", record, np.arange(7), folder / "all.safetensors")


def test_what_was_kept_is_gathered_and_read(tmp_path: Path) -> None:
    record = kept(tmp_path / "adv")
    assert gathered(tmp_path, record) == []
    index, found = adversarial_images.read(tmp_path / "all.safetensors")
    assert index.tolist() == [0, 1, 3, 5, 4, 6]
    assert np.array_equal(found, pictures(0.0, 0.1, 0.3, 0.5, 0.4, 0.6))
    assert (index.dtype, found.dtype) == (np.int64, np.float32)
    adversarial_images.clear(tmp_path / "adv")
    assert [path.name for path in tmp_path.iterdir()] == ["all.safetensors"]


@pytest.mark.parametrize("name", ["0-one", "0-two", "1-one", "1-two"])
@pytest.mark.parametrize("index", [None, [], [0, 1, 2], [2]])
def test_without_a_part_or_with_a_wrong_one_there_is_no_file(
    tmp_path: Path, name: str, index: list[int] | None
) -> None:
    """Neither that nor what an older evaluation left."""
    record = kept(tmp_path / "adv")
    (tmp_path / "all.safetensors").write_bytes(b"of an older evaluation")
    wrong = part(tmp_path / "adv", name)
    if index is None:
        wrong.unlink()
    else:
        number, attack = name.split("-")
        adversarial_images.keep(
            tmp_path / "adv", int(number), attack, WEIGHTS, np.array(index, np.int64), pictures(*index, 1)[:-1]
        )
    assert gathered(tmp_path, record) == [wrong.name]
    assert not (tmp_path / "all.safetensors").exists()


def test_images_that_broke_other_weights_are_not_taken(tmp_path: Path) -> None:
    record = kept(tmp_path / "adv")
    record.identity = {"batch_size": 4, "weights_sha256": "f" * 64}
    assert len(gathered(tmp_path, record)) == 4
    assert not (tmp_path / "all.safetensors").exists()


def test_without_the_folder_there_is_no_file(tmp_path: Path) -> None:
    record = kept(tmp_path / "elsewhere")
    assert len(gathered(tmp_path, record)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_where_nothing_broke_the_file_is_empty(tmp_path: Path) -> None:
    blocks = {0: Block(mask("1101"), {"one": mask("1101")})}
    record = Record({"batch_size": 4, "weights_sha256": WEIGHTS}, blocks=blocks)
    assert len(gathered(tmp_path, record)) == 1  # nobody says so yet
    adversarial_images.keep(tmp_path / "adv", 0, "one", WEIGHTS, np.zeros(0, np.int64), pictures(0.5)[:0])
    assert gathered(tmp_path, record) == []
    index, found = adversarial_images.read(tmp_path / "all.safetensors")
    assert len(index) == len(found) == 0


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "eval.aa-Linf-0.15-44.adv.safetensors"
    with pytest.raises(
        DataError, match=r"44\.adv\.safetensors is missing; move eval\.aa-Linf-0\.15-44\.json and \.npy"
    ):
        adversarial_images.read(path)
    path.write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"44\.adv\.safetensors cannot be read \(\w+\); move it away"):
        adversarial_images.read(path)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"^cannot write .*safetensors: No space left on device; make room"):
        adversarial_images.keep(tmp_path / "adv", 0, "one", WEIGHTS, np.array([0]), pictures(0.5))
    assert list((tmp_path / "adv").iterdir()) == []


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    return placed(tmp_path)


class Whole(NamedTuple):
    """An evaluation that nothing interrupted: its folder, the file of images, the record after each save."""

    source: ModelSource
    images: bytes
    states: list[str]


@pytest.fixture(scope="module")
def whole(brief_attacks: None, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    source, states, write = placed(tmp_path_factory.mktemp("whole")), [], Record.write

    def saved(self: Record, path: Path) -> None:
        write(self, path)
        states.append(path.read_text())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "write", saved)
        run(source)
    return Whole(source, beside(source, ".adv.safetensors").read_bytes(), states)


def check(source: ModelSource, name: str, norm: str, eps: float, examples: int) -> int:
    """Whether the file holds what breaks the model, and nothing else; how many images that are."""
    index, found = adversarial_images.read(beside(source, ".adv.safetensors", name))
    clean, robust = np.load(beside(source, ".npy", name))
    assert sorted(index.tolist()) == np.flatnonzero(clean & ~robust).tolist()
    of = TEST.take(torch.from_numpy(index))
    assert found.shape == (len(index), 1, 8, 8)
    assert 0 <= found.min() < found.max() <= 1
    perturbed = torch.from_numpy(found)
    sizes = THREATS[norm](eps=Quantity(str(eps))).distance(perturbed, to_float(of.images))
    assert float(sizes.max()) <= eps + 1e-5
    assert float(sizes.min()) > 0
    with torch.no_grad():
        assert not (source.load(CPU)(perturbed).argmax(1) == of.labels).any()
        assert (source.load(CPU)(to_float(of.images)).argmax(1) == of.labels).all()
    assert not beside(source, ".adv", name).exists()
    assert len(clean) == examples
    return len(index)


def test_the_images_break_the_model_and_lie_in_the_ball(whole: Whole) -> None:
    count = check(whole.source, NAME, "Linf", 0.15, 44)
    assert 10 < count < 44
    assert len(whole.states) == 5 * 4 + 1


def test_in_shuffled_order_too(source: ModelSource) -> None:
    run(source, replace(FULL, shuffled=True, examples=20))
    assert check(source, "aa-Linf-0.15-20-batch10-shuffled", "Linf", 0.15, 20) > 5


def test_under_l2_too(source: ModelSource) -> None:
    wanted = replace(FULL, norm="L2", eps=("0.8",), examples=20)
    run(source, wanted)
    assert check(source, "aa-L2-0.8-20-batch10", "L2", 0.8, 20) > 5


def test_shards_join_to_the_same_images(source: ModelSource, whole: Whole) -> None:
    for index in (3, 1, 2):
        run(source, replace(FULL, shard=(index, 3)))
        assert not beside(source, ".adv.safetensors").exists()
    facts = run(source, replace(FULL, merge=True))
    assert facts["images_missing"] == []
    assert beside(source, ".adv.safetensors").read_bytes() == whole.images
    assert len(list(beside(source, ".adv").iterdir())) == 5 * 4  # the parts stay, as the shards do
    for path in (".json", ".adv.safetensors"):
        beside(source, path).unlink()
    run(source, replace(FULL, merge=True))
    assert beside(source, ".adv.safetensors").read_bytes() == whole.images


def test_shards_joined_without_all_their_images_say_which_are_missing(source: ModelSource) -> None:
    for index in (1, 2):
        run(source, replace(FULL, shard=(index, 2)))
    part(beside(source, ".adv"), "3-apgd-ce").unlink()
    facts = run(source, replace(FULL, merge=True))
    assert [name.rsplit("-", 1)[0] for name in facts["images_missing"]] == ["3-apgd-ce"]
    assert not beside(source, ".adv.safetensors").exists()


@pytest.mark.parametrize("saves", [1, 9, 20])
@pytest.mark.parametrize("moment", ["before the images", "before the record", "after the record"])
def test_what_was_interrupted_comes_to_the_same_images(
    source: ModelSource, whole: Whole, monkeypatch: pytest.MonkeyPatch, saves: int, moment: str
) -> None:
    left = [saves]
    owner, name = (adversarial_images, "keep") if moment == "before the images" else (Record, "write")
    act: Any = getattr(owner, name)

    def interrupted(*given: Any) -> None:
        left[0] -= 1
        if left[0] == 0 and moment != "after the record":
            raise KeyboardInterrupt
        act(*given)
        if left[0] == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(source)
    assert not beside(source, ".adv.safetensors").exists()
    run(source)
    assert beside(source, ".adv.safetensors").read_bytes() == whole.images
    assert not beside(source, ".adv").exists()
    assert not beside(source, ".state").exists()


def test_a_record_without_its_images_still_gives_its_result(source: ModelSource, whole: Whole) -> None:
    """As one that was moved from another machine alone: nothing is made up, and older images do not pass for its."""
    beside(source, ".state").write_text(whole.states[9])
    beside(source, ".adv.safetensors").write_bytes(b"of other weights")
    facts = run(source)
    assert facts["robust"] == run(whole.source)["robust"]
    assert len(facts["images_missing"]) == 10
    assert beside(source, ".npy").read_bytes() == beside(whole.source, ".npy").read_bytes()
    assert not beside(source, ".adv.safetensors").exists()


def test_weights_that_took_the_place_of_others_have_their_own_images(source: ModelSource, whole: Whole) -> None:
    other_weights = {name: 1.1 * value if "weight" in name else value for name, value in load(trained(0)).items()}
    source.weights.write_bytes(save(other_weights))
    run(source)
    other = beside(source, ".adv.safetensors").read_bytes()
    source.weights.write_bytes(trained(0))
    run(source)
    assert beside(source, ".adv.safetensors").read_bytes() == whole.images != other


def test_each_radius_has_its_own_images(source: ModelSource) -> None:
    wanted = replace(FULL, attacks=("aa-plus",), eps=("0.5", "0.4", "0"), examples=5, batch_size=500)
    resumable.evaluate_source(source, TEST, wanted, CPU, lambda *_: None, judge=False)
    for eps in ("0.5", "0.4"):
        assert check(source, f"aa-plus-Linf-{eps}-5", "Linf", float(eps), 5) > 0
    index, found = adversarial_images.read(beside(source, ".adv.safetensors", "aa-plus-Linf-0-5"))
    assert len(index) == len(found) == 0


def test_an_attack_alone_keeps_no_images(source: ModelSource) -> None:
    for attack in ("pgd20", "apgd-ce"):
        run(source, replace(FULL, attacks=(attack,)))
    assert not list(source.weights.parent.glob("*.adv*"))


def test_what_is_done_is_left_as_it_is(whole: Whole) -> None:
    path = beside(whole.source, ".adv.safetensors")
    before = path.stat().st_mtime_ns
    run(whole.source)
    assert path.stat().st_mtime_ns == before
