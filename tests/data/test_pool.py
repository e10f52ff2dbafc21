"""Training images that stay where they are are trained on as those on the device are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from own_images import arrays, npz, prepared
from trainings import RECIPE, problem

from robench_fire.data.own.dataset import load
from robench_fire.data.pool import fits, laid, picked
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Split, Splits
from robench_fire.training.engine import Trained, train_together
from robench_fire.training.setup import Problem

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.fixture
def mapped(tmp_path: Path) -> Splits:
    """Images that lie on the disk."""
    return load(prepared(npz(tmp_path, **arrays(each=20)), tmp_path), tmp_path)


def trained(given: Problem, device: str, streaming: bool) -> list[Trained]:
    return train_together(
        DigitsCNN, given, seeds=[0, 1], device=torch.device(device), state_files=[None, None], streaming=streaming
    )


@pytest.mark.parametrize("device", DEVICES)
def test_weights_are_the_same_to_the_last_bit(device: str, mapped: Splits) -> None:
    read = Splits(*(Split(*(part.clone() for part in split)) for split in mapped))
    recipe = replace(RECIPE, epochs=2, batch_size=32)
    there = trained(problem(mapped, "fire_sa", recipe), device, streaming=True)
    here = trained(problem(read, "fire_sa", recipe), device, streaming=False)
    for one, other in zip(there, here, strict=True):
        assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())
        assert [row["robust"] for row in one.curve] == [row["robust"] for row in other.curve]


@pytest.mark.parametrize("device", DEVICES)
def test_batches_lie_on_the_device(device: str, mapped: Splits) -> None:
    pool, index = laid(mapped.train, torch.device(device), streaming=True), torch.tensor([5, 0, 5], device=device)
    assert pool.images is mapped.train.images
    assert pool.labels.device.type == picked(pool.images, index, index.device).device.type == device
    assert torch.equal(picked(pool.images, index, index.device).cpu(), mapped.train.images[[5, 0, 5]])


def test_images_go_where_half_of_the_memory_has_room_for_them(mapped: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    images, device = mapped.train.images, torch.device("cuda", 0)
    for free, enough in ((2 * images.numel(), True), (2 * images.numel() - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        assert fits(images, device) == enough
    monkeypatch.undo()
    assert fits(images, torch.device("cpu"))


def test_a_word_overrules_what_fits(mapped: Splits) -> None:
    meta = torch.device("meta")
    assert laid(mapped.train, meta).images.device == meta
    assert laid(mapped.train, meta, streaming=True).images.device.type == "cpu"
