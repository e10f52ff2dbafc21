"""Weights as a model to call, and a data set's images as tensors."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from robench_fire.api.speaking import Source, called, voices
from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.device import resolve
from robench_fire.errors import UsageError, unknown
from robench_fire.launching.bench import bring_files
from robench_fire.problem import registry
from robench_fire.problem.dataset import Split, head
from robench_fire.runs.model_source import model_sources


def load(
    source: Source, *, dataset: str = "", arch: str = "", normalise: str = "", key: str = "", norm: str = "",
    model_dir: Source = "", device: str = "auto",
) -> nn.Module:  # fmt: skip
    """A trained network: images (N, C, H, W), floats in [0, 1], to logits (N, classes).

    It is in eval mode and frozen, and normalises images itself.

    Args:
        source: the folder of a run, ``runs/.../seed-0``; a checkpoint file, with ``dataset`` and ``arch``; or
            ``rb:NAME`` of RobustBench's zoo, brought into ``model_dir``, with ``norm`` where it has several.
        dataset: a file's data set, of ``list_datasets``.
        arch: a file's architecture, of ``list_architectures``.
        normalise: a file's normalisation outside the network: none, dataset, image or MEAN:STD.
        key: which of several weights in a file.
        norm: Linf or L2, of a model of the zoo.
        model_dir: the folder of the zoo's checkpoints; "": the variable ROBENCH_MODELS, or models.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.

    Raises:
        RobenchError: if there is no such run or file, or it does not fit the architecture.
    """
    with called():
        zoo = Path(model_dir or os.environ.get("ROBENCH_MODELS") or "models")
        found = model_sources(os.fspath(source), dataset, arch, norm, zoo, normalise, key)
        if len(found) > 1:
            raise UsageError(f"{source} holds {len(found)} trained runs; name one, like {found[0].weights.parent}")
        for note in found[0].notes:
            warnings.warn(note, stacklevel=3)
        return found[0].load(resolve(device))


def load_images(
    dataset: str, examples: int | None = None, *, split: Literal["train", "validation", "test"] = "test",
    data_dir: Source | None = None, device: str = "cpu", progress: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """A data set's images, brought and verified if they are not here.

    Args:
        dataset: a name of ``list_datasets``.
        examples: the first so many; None: all.
        split: train, validation (held out of the training images) or test.
        data_dir: folder of the data; None: the variable ROBENCH_DATA, or the user's cache.
        device: auto, cpu, cuda or cuda:N.
        progress: show on stderr how they are brought.

    Returns:
        Images (N, C, H, W), float32 in [0, 1], and class numbers (N,), int64, on ``device``.

    Raises:
        RobenchError: for an unknown data set, or images that cannot be brought.
    """
    with called():
        if examples is not None and examples < 1:
            raise UsageError(f"examples {examples}: at least 1")
        found = registry.load("datasets", dataset)
        parts, folder = found.module.DATASET, Path(data_dir) if data_dir else fetching.data_folder()
        bring_files(found.name, parts, folder, voices(progress)[0])
        splits = fetching.splits(found.name, parts, folder)._asdict()
        if split not in splits:
            raise UsageError(unknown("split", split, splits))
        chosen: Split = head(splits[split], examples).to(resolve(device))
        return to_float(chosen.images), chosen.labels
