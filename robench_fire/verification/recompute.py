"""Predictions made again from the weights: the clean ones, and those of stored perturbed images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robench_fire.data.batches import to_float
from robench_fire.evaluation import adversarial_images
from robench_fire.evaluation.autoattack.attack_sets import inside
from robench_fire.evaluation.evaluator import shuffled
from robench_fire.problem.dataset import head
from robench_fire.problem.threat import THREATS
from robench_fire.quantity import Quantity
from robench_fire.runs.folders import BATCH_SIZE, Run, read_json, read_masks
from robench_fire.runs.model_source import source_of
from robench_fire.verification.finding import Finding, lacking, listed, tried
from robench_fire.verification.images import Images, own_of

NEAR = 1e-3
"""The two largest logits are this near, as a part of the larger: another device or batch may then say otherwise."""


def recompute(run: Run, count: int, images: Images, device: torch.device) -> list[Finding]:
    """Of every evaluation of a trained run: all its clean predictions, and ``count`` of its perturbed images."""
    if not run.weights.exists():
        return [lacking("clean predictions", run.weights, "it is not here")]
    model: nn.Module | None = None
    told: list[Finding] = []
    for path in sorted(run.folder.glob("eval.*.json")):
        model = model or source_of(run).load(device)
        told += tried("clean predictions", path, partial(_again, path, count, images, model, device))
    return told


def _again(path: Path, count: int, images: Images, model: nn.Module, device: torch.device) -> list[Finding]:
    facts = read_json(path)
    test = images.test(str(facts["dataset"]), own_of(facts))
    if isinstance(test, str):
        return [lacking("clean predictions", path, test)]
    test = head(test, facts["examples"]).to(device)
    x, label = to_float(test.images), test.labels
    masks = read_masks(path.with_suffix(".npy"))
    right, sure = _said(model, x, label)
    other = np.flatnonzero((right != masks[0]) & sure)
    wrong = [f"{len(other)} of {len(x):,} are not as the mask says, like that of test image {other[:1]}"]
    told = [listed("clean predictions", path, wrong * bool(len(other)), f"the mask, on {len(x):,} images")]
    stored = path.with_name(path.name.removesuffix(".json") + ".adv.safetensors")
    return told + ([_perturbed(stored, facts, count, model, x, label)] if stored.exists() and count else [])


def _perturbed(stored: Path, facts: dict[str, Any], count: int, model: nn.Module, x: Tensor, label: Tensor) -> Finding:
    """Whether some of what broke the model lies in the threat model, and breaks it."""
    index, found = adversarial_images.read(stored)
    chosen = shuffled(0, len(index))[:count]
    at = torch.from_numpy(index[chosen]).to(x.device)
    x_adv = torch.from_numpy(found[chosen]).to(x.device).reshape(-1, *x.shape[1:])
    threat = THREATS[facts["norm"]](eps=Quantity(facts["eps"]))
    outside = index[chosen][(~inside(threat, x_adv, x[at])).cpu().numpy()] if len(chosen) else chosen
    right, sure = _said(model, x_adv, label[at])
    stand = index[chosen][right & sure]
    wrong = [f"{len(outside)} are outside {threat.norm} {threat.eps}, like that of test image {outside[:1]}"]
    wrong = wrong * bool(len(outside))
    wrong += [f"{len(stand)} do not break the model, like that of test image {stand[:1]}"] * bool(len(stand))
    return listed("perturbed predictions", stored, wrong, f"{len(chosen):,} of {len(index):,} inside, and broken")


def _said(model: nn.Module, x: Tensor, label: Tensor) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) whether each image is classified correctly, and whether that is beyond rounding."""
    right, sure = [], []
    with torch.no_grad():
        for part, its in zip(x.split(BATCH_SIZE), label.split(BATCH_SIZE), strict=True):
            if len(part):
                logits = model(part).float()
                best = logits.topk(2).values
                right.append(logits.argmax(1) == its)
                sure.append(~(best[:, 0] - best[:, 1] <= NEAR * best[:, 0].abs().clamp(min=1)))
    if not right:
        return np.zeros(0, bool), np.zeros(0, bool)
    return torch.cat(right).cpu().numpy(), torch.cat(sure).cpu().numpy()
