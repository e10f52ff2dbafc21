"""Hard and self-adaptive targets, and the memory behind them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from scipy.special import softmax

from robench_fire.data.mixing import Mixing
from robench_fire.losses import cross_entropy
from robench_fire.problem.targets import ClassMeans, HardLabels, Memory, SelfAdaptive, Targets, recalled, smoothed

LABELS = torch.tensor([0, 2, 1, 1, 2, 0])
INDEX = torch.tensor([4, 0, 3])
LOGITS = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.5, -0.5], [4.0, 0.0, -2.0]])
SOURCES: list[Targets] = [HardLabels(), SelfAdaptive(), ClassMeans()]
AFTER = 0.8  # of the epochs: past SelfAdaptive's default start

each_source = pytest.mark.parametrize("targets", SOURCES)


def copied(memory: Memory) -> Memory:
    return {name: tensor.clone() for name, tensor in memory.items()}


def same(a: Memory, b: Memory) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@each_source
def test_starts_as_one_hot_labels_of_weight_one(targets: Targets) -> None:
    memory = targets.init(LABELS, 4)
    read = targets.read(memory, INDEX)
    assert read.dtype == torch.float32
    np.testing.assert_array_equal(read, np.eye(4, dtype=np.float32)[LABELS[INDEX]])


@each_source
@pytest.mark.parametrize("progress", [0.01, AFTER, 1.0])
def test_update_never_writes_into_the_memory_it_is_given(targets: Targets, progress: float) -> None:
    memory = targets.init(LABELS, 3)
    before = copied(memory)
    targets.update(memory, INDEX, LOGITS, progress)
    assert same(memory, before)


@each_source
def test_memory_survives_a_safe_load(targets: Targets) -> None:
    memory = targets.update(targets.init(LABELS, 3), INDEX, LOGITS, AFTER)
    file = io.BytesIO()
    torch.save(memory, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert same(loaded, memory)
    assert torch.equal(targets.read(loaded, INDEX), targets.read(memory, INDEX))


def test_class_means_are_of_the_epoch_before_and_uniform_at_first() -> None:
    targets, every = ClassMeans(), torch.arange(6)
    memory = targets.init(LABELS, 4)
    logits = torch.linspace(-2, 3, 24).view(6, 4).sin() * 3
    for index in (INDEX, torch.tensor([1, 2])):  # example 5 is not seen, and class 3 has none
        memory = targets.update(memory, index, logits[index], 0.25)
        np.testing.assert_array_equal(recalled(targets, memory, every)["class_mean"], np.full((6, 4), 0.25))
    predicted = softmax(logits.numpy(), axis=1)
    expected = np.stack([predicted[[0]].mean(0), predicted[[2, 3]].mean(0), predicted[[1, 4]].mean(0)])
    for index in (INDEX, every):  # of the second epoch, which do not move them
        memory = targets.update(memory, index, 7 * logits[index], 0.5)
        np.testing.assert_allclose(recalled(targets, memory, every)["class_mean"], expected[LABELS], atol=1e-6)
        np.testing.assert_allclose(memory["mean"][3], 0.25)


def test_a_class_that_an_epoch_does_not_see_keeps_its_mean() -> None:
    targets, memory = ClassMeans(), ClassMeans().init(LABELS, 3)
    first = targets.update(memory, torch.arange(6), LOGITS.repeat(2, 1), 0.25)
    second = targets.update(first, torch.tensor([2, 3]), LOGITS[:2], 0.5)
    third = targets.update(second, torch.tensor([2, 3]), LOGITS[:2], 0.75)
    assert torch.equal(third["mean"][[0, 2]], second["mean"][[0, 2]])
    assert not torch.equal(third["mean"][1], second["mean"][1])


def test_other_targets_recall_nothing() -> None:
    for targets in (HardLabels(), SelfAdaptive()):
        assert recalled(targets, targets.init(LABELS, 3), INDEX) == {}


def test_hard_labels_ignore_predictions() -> None:
    memory = HardLabels().init(LABELS, 3)
    assert same(HardLabels().update(memory, INDEX, LOGITS, 1.0), memory)


@pytest.mark.parametrize(("progress", "moves"), [(0.01, False), (0.69, False), (0.7, True), (0.71, True), (1.0, True)])
def test_moves_from_its_start_on(progress: float, moves: bool) -> None:
    memory = SelfAdaptive(start=0.7).init(LABELS, 3)
    assert same(SelfAdaptive(start=0.7).update(memory, INDEX, LOGITS, progress), memory) is not moves


def test_update_moves_the_seen_rows_only_by_the_equation() -> None:
    targets = SelfAdaptive(momentum=0.9)
    memory = targets.update(targets.init(LABELS, 3), INDEX, LOGITS, AFTER)
    expected = np.eye(3)[LABELS]
    expected[INDEX] = 0.9 * expected[INDEX] + 0.1 * softmax(LOGITS.numpy(), axis=1)
    np.testing.assert_allclose(memory["soft"], expected, atol=1e-6)


def test_updates_accumulate() -> None:
    """After n equal visits the label's own share is momentum^n of what the first visit found."""
    targets = SelfAdaptive(momentum=0.9)
    memory = targets.init(LABELS, 3)
    for _ in range(31):
        memory = targets.update(memory, INDEX, LOGITS, AFTER)
    expected = 0.9**31 * np.eye(3)[LABELS[INDEX]] + (1 - 0.9**31) * softmax(LOGITS.numpy(), axis=1)
    np.testing.assert_allclose(memory["soft"][INDEX], expected, atol=1e-6)


def test_weight_is_the_largest_target_scaled_to_a_mean_of_one() -> None:
    targets = SelfAdaptive()
    memory = targets.update(targets.init(LABELS, 3), INDEX, LOGITS, AFTER)
    read = targets.read(memory, INDEX)
    soft = memory["soft"][INDEX].numpy()
    weight = soft.max(1) / soft.max(1).mean()
    np.testing.assert_allclose(read.sum(1), weight, rtol=1e-6)
    np.testing.assert_allclose(read, soft * weight[:, None], rtol=1e-6)
    assert read.sum(1).mean().item() == pytest.approx(1, abs=1e-6)
    assert read.sum(1).std() > 0.01


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_weights_average_one_in_any_batch(batch: int) -> None:
    generator = torch.Generator().manual_seed(batch)
    memory = {"soft": torch.rand(6, 5, generator=generator).softmax(1)}
    index = torch.randperm(6, generator=generator)[:batch]
    assert SelfAdaptive().read(memory, index).sum(1).mean().item() == pytest.approx(1, abs=1e-6)


def test_memory_takes_no_gradient_and_stays_in_float32() -> None:
    logits = LOGITS.bfloat16().requires_grad_()
    memory = SelfAdaptive().update(SelfAdaptive().init(LABELS, 3), INDEX, logits, AFTER)
    assert not memory["soft"].requires_grad
    assert memory["soft"].dtype == torch.float32


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_extreme_momentum(momentum: float) -> None:
    targets = SelfAdaptive(momentum=momentum, start=0.0)
    memory = targets.init(LABELS, 3)
    moved = targets.update(memory, INDEX, LOGITS, 0.0)["soft"][INDEX]
    torch.testing.assert_close(moved, LOGITS.softmax(1) if momentum == 0 else memory["soft"][INDEX])


@pytest.mark.parametrize("bad", [{"momentum": -0.1}, {"momentum": 1.1}, {"start": -0.1}, {"start": 1.5}])
def test_refuses_parameters_outside_their_range(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        SelfAdaptive(**bad)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_smoothing_spreads_a_share_of_a_rows_mass_evenly(share: float) -> None:
    """(1 - s) t + s m / K of a row of mass m: an example's weight stays; torch's own cross-entropy on hard labels."""
    target = torch.rand(5, 4) * torch.linspace(0.5, 2, 5)[:, None]
    found = smoothed(target, share)
    torch.testing.assert_close(found, (1 - share) * target + share * target.sum(1, keepdim=True) / 4)
    torch.testing.assert_close(found.sum(1), target.sum(1))
    hard, logits = torch.tensor([3, 0, 2]), torch.randn(3, 4)
    expected = torch.nn.functional.cross_entropy(logits, hard, label_smoothing=share, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, smoothed(torch.eye(4)[hard], share)), expected)


def test_without_a_share_targets_are_left_alone() -> None:
    target = torch.rand(5, 4)
    assert smoothed(target, None) is target


def test_mixing_and_smoothing_may_change_places() -> None:
    target, way = torch.rand(3, 4), Mixing(torch.tensor([2, 0, 1]), torch.full((3, 1, 1, 1), 0.3))
    torch.testing.assert_close(smoothed(way.targets(target), 0.4), way.targets(smoothed(target, 0.4)))


def test_smoothing_leaves_the_memory_and_its_weights_alone() -> None:
    """Of self-adaptive labels: what is read is smoothed, what is remembered is not."""
    targets = SelfAdaptive()
    memory = targets.update(targets.init(LABELS, 3), INDEX, LOGITS, AFTER)
    before = copied(memory)
    read = smoothed(targets.read(memory, INDEX), 0.3)
    assert same(memory, before)
    torch.testing.assert_close(read.sum(1), targets.read(memory, INDEX).sum(1))
