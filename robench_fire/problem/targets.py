"""Where a defense's targets come from. State that outlives a batch (Memory) is passed in and returned, never hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot

Memory = dict[str, Tensor]


class Targets(Protocol):
    """Soft targets (N, C) whose row mass is the example's weight.

    One whose memory a loss reads besides has a fourth function, ``recall(memory, index)``: by name, (N, ...).
    """

    def init(self, labels: Tensor, num_classes: int) -> Memory:
        """Memory before the first epoch, for training labels (N_train,)."""

    def update(self, memory: Memory, index: Tensor, logits: Tensor, progress: float) -> Memory:
        """Memory after seeing examples ``index`` (N,) at ``progress`` = epoch / epochs.

        ``logits`` (N, C): of the clean images, or of the perturbed ones where the defense reads no clean ones.
        """

    def read(self, memory: Memory, index: Tensor) -> Tensor:
        """(N, C) targets of examples ``index``."""


def smoothed(target: Tensor, share: float | None) -> Tensor:
    """(N, C) targets of which ``share`` is spread evenly over all classes; a row's mass stays (Szegedy et al. 2016)."""
    if not share:
        return target
    return (1 - share) * target + share * target.mean(1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class HardLabels:
    """One-hot labels of weight 1."""

    def init(self, labels: Tensor, num_classes: int) -> Memory:
        return {"labels": labels, "identity": torch.eye(num_classes, device=labels.device)}

    def update(self, memory: Memory, index: Tensor, logits: Tensor, progress: float) -> Memory:
        return memory

    def read(self, memory: Memory, index: Tensor) -> Tensor:
        return memory["identity"][memory["labels"][index]]


@dataclass(frozen=True, kw_only=True)
class SelfAdaptive:
    """Labels that drift towards the model's own predictions (Huang et al. 2020, Algorithm 1).

    From ``start`` (a share of the epochs) on, T <- momentum T + (1 - momentum) softmax(clean logits). An example's
    weight is its largest target, scaled so that the weights of a batch average 1.
    """

    momentum: float = 0.9
    start: float = 0.7

    def __post_init__(self) -> None:
        if not (0 <= self.momentum <= 1 and 0 <= self.start <= 1):
            raise ValueError(f"momentum {self.momentum} and start {self.start} must lie in [0, 1]")

    def init(self, labels: Tensor, num_classes: int) -> Memory:
        return {"soft": one_hot(labels, num_classes).float()}

    def update(self, memory: Memory, index: Tensor, logits: Tensor, progress: float) -> Memory:
        if progress < self.start:
            return memory
        predicted = torch.softmax(logits.detach().float(), 1)
        moved = self.momentum * memory["soft"][index] + (1 - self.momentum) * predicted
        return {"soft": memory["soft"].index_copy(0, index, moved)}

    def read(self, memory: Memory, index: Tensor) -> Tensor:
        soft = memory["soft"][index]
        weight = soft.amax(1, keepdim=True)
        return soft * (weight / weight.mean())


@dataclass(frozen=True, kw_only=True)
class ClassMeans:
    """One-hot labels of weight 1; and ``views.recalled["class_mean"]``, (N, C): what is predicted of the class.

    That is the mean softmax of the clean images of the example's class over the epoch before, and uniform in the first.
    """

    def init(self, labels: Tensor, num_classes: int) -> Memory:
        identity = torch.eye(num_classes, device=labels.device)
        mean, sums = torch.full_like(identity, 1 / num_classes), torch.zeros_like(identity)
        return {"labels": labels, "identity": identity, "mean": mean, "sums": sums, "progress": mean.new_zeros(())}

    def update(self, memory: Memory, index: Tensor, logits: Tensor, progress: float) -> Memory:
        begins, sums = memory["progress"] != progress, memory["sums"]  # on the device: nothing waits for it
        seen = sums.sum(1, keepdim=True)
        over = torch.where(seen > 0, sums / seen.clamp_min(1), memory["mean"])  # a class may have no images
        batch = self.read(memory, index).T @ torch.softmax(logits.detach().float(), 1)
        return memory | {
            "mean": torch.where(begins, over, memory["mean"]),
            "sums": torch.where(begins, 0.0, sums) + batch,
            "progress": torch.full_like(memory["progress"], progress),
        }

    def read(self, memory: Memory, index: Tensor) -> Tensor:
        return memory["identity"][memory["labels"][index]]

    def recall(self, memory: Memory, index: Tensor) -> Mapping[str, Tensor]:
        return {"class_mean": memory["mean"][memory["labels"][index]]}


def recalled(targets: Targets, memory: Memory, index: Tensor) -> Mapping[str, Tensor]:
    """What a loss reads of the memory besides the targets of examples ``index``; of most targets, nothing."""
    recall = getattr(targets, "recall", None)
    return {} if recall is None else recall(memory, index)
