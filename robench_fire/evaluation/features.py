"""The features that a network has learnt: how far attacks move them, how they lie, how separable classes are in them.

Features are what the last linear layer reads. The analysis is that of the paper "Adversarial Robustness Regularization"
(its section 5 is lost; what it does not say is ours): stability under perturbation, and disentanglement as the accuracy
of a linear classifier on the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.device import use
from robench_fire.errors import UsageError
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel, attacked_model
from robench_fire.evaluation.transfer import perturbed
from robench_fire.models.architectures import last_layer
from robench_fire.problem.dataset import Split, head
from robench_fire.progress import Report
from robench_fire.runs import folders
from robench_fire.runs.model_source import ModelSource
from robench_fire.statistics.summary import mean_std

Embedding = Literal["pca", "tsne"]
FITTED = 5000  # training images that the linear classifier is fitted on, at most
SHOWN = 1000  # test images in an embedding, at most
LEAST = 3


class Seen(NamedTuple):
    """Features (N, D) of test images, clean and perturbed, and of training images (M, D), with their labels."""

    clean: NDArray[Any]
    adv: NDArray[Any]
    label: NDArray[Any]
    train: NDArray[Any]
    train_label: NDArray[Any]


def features(
    sources: Sequence[ModelSource], embedding: Embedding, examples: int | None, seed: int, data: Path,
    device: torch.device, report: Report,
) -> dict[str, Any]:  # fmt: skip
    """What the features of each of ``sources`` are like, and means over them.

    Test images are perturbed by PGD-20 at the claimed radius.

    Raises:
        UsageError: for fewer images than an embedding takes.
    """
    use(device)
    found = []
    for number, source in enumerate(sources):
        report("features", number, len(sources), source.name)
        found.append(_of_one(source, embedding, examples, seed, data, device))
    measures = ("moved", "separable_clean", "separable_perturbed")
    return {
        "format": 1,
        "norm": sources[0].claim.norm,
        "eps": str(sources[0].claim.eps),
        "seed": seed,
        "embedding": embedding,
        "mean": {name: mean_std([each[name] for each in found])._asdict() for name in measures},
        "models": found,
    }


def _of_one(
    source: ModelSource, embedding: Embedding, examples: int | None, seed: int, data: Path, device: torch.device
) -> dict[str, Any]:
    parts = source.parts()
    splits = fetching.splits(source.dataset, parts, data)
    test = head(splits.test, examples or parts.examples).to(device)
    if len(test.labels) < LEAST:
        raise UsageError(f"features of {len(test.labels)} test images lie in no plane; take {LEAST} or more")
    model = source.load(device)
    attacked, _ = attacked_model(
        model, to_float(test.images), test.labels, source.claim, num_classes=parts.num_classes, seed=seed,
        batch_size=folders.BATCH_SIZE,
    )  # fmt: skip
    order = torch.randperm(len(splits.train.labels), generator=torch.Generator().manual_seed(0))  # may lie by class
    seen = _seen(model, attacked, splits.train.take(order[:FITTED].sort().values).to(device))
    by_class = {str(label): _moved(seen, seen.label == label) for label in np.unique(seen.label)}
    clean, adv = _separable(seen)
    return {
        "name": source.name,
        "weights": str(source.weights),
        "examples": len(seen.label),
        "dimensions": seen.clean.shape[1],
        "moved": _moved(seen, np.ones(len(seen.label), bool)),
        "moved_by_class": by_class,
        "separable_clean": clean,
        "separable_perturbed": adv,
        "embedded": _embedded(seen, embedding, seed),
    }


def _seen(model: nn.Module, attacked: AttackedModel, train: Split) -> Seen:
    x_adv = perturbed(attacked, attacked.seed)
    images = (attacked.images, x_adv, to_float(train.images))
    clean, adv, fitted = (of(model, each).cpu().double().numpy() for each in images)
    return Seen(clean, adv, attacked.labels.cpu().numpy(), fitted, train.labels.cpu().numpy())


@torch.no_grad()
def of(model: nn.Module, images: Tensor) -> Tensor:
    """(N, D) the features of ``images`` (N, C, H, W).

    Raises:
        RecipeError: if the network has no linear layer.
    """
    kept: list[Tensor] = []
    hook = model.get_submodule(last_layer(model)).register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    try:
        for part in images.split(folders.BATCH_SIZE):
            model(part)
    finally:
        hook.remove()
    return torch.cat(kept).flatten(1).float()


def _moved(seen: Seen, chosen: NDArray[Any]) -> float:
    """How far perturbation moves the features of the chosen images, in units of the spread of all clean ones.

    Both are root mean squares of Euclidean lengths, so that the scale of the features drops out.
    """
    spread = np.square(seen.clean - seen.clean.mean(0)).sum(1).mean()
    moved = np.square(seen.adv[chosen] - seen.clean[chosen]).sum(1).mean()
    return float(np.sqrt(moved / spread)) if spread > 0 else 0.0


def _separable(seen: Seen) -> tuple[float, float]:
    """Accuracy in percent of a linear classifier of clean training features, on clean and perturbed test features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    probe.fit(seen.train, seen.train_label)
    return 100 * float(probe.score(seen.clean, seen.label)), 100 * float(probe.score(seen.adv, seen.label))


def _embedded(seen: Seen, embedding: Embedding, seed: int) -> dict[str, Any]:
    """Two coordinates of each of the first test images, clean and perturbed, in one plane."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = min(len(seen.label), SHOWN)
    both = np.concatenate([seen.clean[:count], seen.adv[:count]])
    if embedding == "pca":
        plane = PCA(2, random_state=seed).fit(seen.clean[:count]).transform(both)
    else:
        plane = TSNE(2, random_state=seed, perplexity=min(30.0, (2 * count - 1) / 3), init="pca").fit_transform(both)
    rounded = np.round(plane, 4).tolist()
    return {"label": seen.label[:count].tolist(), "clean": rounded[:count], "perturbed": rounded[count:]}
