"""Training steps and epochs: as released, as a trainer library makes them, as a benchmark describes them, and ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training_speed import EPS, STEP, STEPS, WAYS, Case

from peer_ways.turns import Comparison, Way, stepped
from robench_fire.data.batches import to_float
from robench_fire.devices.precision import supported
from robench_fire.problem.dataset import Split
from robench_fire.problem.recipe import Precision
from robench_fire.runs.compose import Request, compose
from robench_fire.training.engine import initialised, prepared
from robench_fire.training.epoch import train_epoch
from robench_fire.training.setup import Problem

CPU = torch.device("cpu")
NAMES = {"fire": "FIRE", "trades": "TRADES", "madry": "PGD-AT"}
BATCH = 128  # of the FastAT benchmark
Sized = Callable[[str], Split]
"""Network to a batch for it."""


def formats() -> dict[str, Precision]:
    """What our way is called in each format that this processor has instructions for."""
    found: dict[str, Precision] = {"ours, fp32": "fp32"}
    if "bf16" in supported(CPU):
        found["ours, bf16"] = "bf16"
    return found


def ours(defense: str, arch: str, images: Split) -> dict[str, Way]:
    """Our step in each format of this processor."""
    plain = Case(defense, arch, CPU, images, "fp32")
    cases = {"ours, fp32": plain}
    if "bf16" in supported(CPU):
        cases["ours, bf16"] = replace(plain, precision="bf16")
        cases["ours, bf16 throughout"] = replace(plain, precision="bf16", attack_precision="bf16")
    return {name: stepped(WAYS["ours"](case)) for name, case in cases.items()}


def released(defense: str, arch: str, images: Split) -> Comparison:
    """A step of FIRE or TRADES as its released code makes it, see training_speed.py."""

    def made() -> Mapping[str, Way]:
        theirs = stepped(WAYS["released"](Case(defense, arch, CPU, images, "fp32")))
        return {"as released": theirs, **ours(defense, arch, images)}

    what = f"a step, {arch}, {len(images.labels)} images, 10 attack steps"
    return Comparison(f"{NAMES[defense]} as released", what, made)


def trainer(defense: str, arch: str, images: Split) -> Comparison:
    """The same step as a trainer library makes it of torchattacks' attack, see of_a_library."""

    def made() -> Mapping[str, Way]:
        return {"a trainer library": _lazily(partial(of_a_library, defense, arch, images)),
                **ours(defense, arch, images)}  # fmt: skip

    what = f"a step, {arch}, {len(images.labels)} images, 10 attack steps"
    return Comparison(f"{NAMES[defense]} by a trainer library", what, made, {"a trainer library": "torchattacks"})


def _lazily(make: Callable[[], Callable[[], object]]) -> Way:
    """A way whose step is made in its first turn."""
    steps: list[Way] = []

    def once() -> Any:
        if not steps:
            steps.append(stepped(make()))
        return steps[0]()

    return once


def of_a_library(defense: str, arch: str, images: Split) -> Callable[[], object]:
    """Plainly, as trainer libraries do it: an attack object takes the model in eval mode, parameters and all.

    PGD-AT: torchattacks' PGD, then one train-mode pass and cross-entropy. TRADES: torchattacks' attack on the KL
    divergence, then train-mode passes of clean and perturbed images, and their KL divergence at weight 6.
    """
    import torchattacks

    model = _model(arch)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    kind = torchattacks.TPGD if defense == "trades" else torchattacks.PGD
    attack = kind(model, eps=EPS, alpha=STEP, steps=STEPS)
    x, y = to_float(images.images), images.labels

    def run() -> None:
        model.eval()
        x_adv = attack(x, y)
        model.train()
        optimiser.zero_grad()
        logits = model(x_adv)
        if defense == "trades":
            clean = model(x)
            apart = F.kl_div(F.log_softmax(logits, 1), F.softmax(clean, 1), reduction="batchmean")
            loss = F.cross_entropy(clean, y) + 6 * apart
        else:
            loss = F.cross_entropy(logits, y)
        loss.backward()
        optimiser.step()

    return run


def fastat(arch: str, images: Split) -> Comparison:
    """An epoch of PGD-AT by the recipe of the FastAT benchmark (Pan and Yao 2026), on a few of its batches."""

    def made() -> Mapping[str, Way]:
        theirs = {"as described": stepped(as_described(arch, images))}
        return theirs | {name: stepped(by_profile(arch, images, each)) for name, each in formats().items()}

    count = len(images.labels)
    what = f"an epoch of {count:,} images, {arch}, batches of {BATCH}, 10 attack steps, averaged weights"
    return Comparison("PGD-AT of the FastAT benchmark", what, made)


def as_described(arch: str, images: Split) -> Callable[[], object]:
    """Plainly from its description: crop, flip, PGD-10 from anywhere in the ball, smoothed labels, averaged weights."""
    model = _model(arch)
    average = copy.deepcopy(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def run() -> None:
        for index in torch.randperm(len(images.labels)).split(BATCH):
            x, y = _augmented(to_float(images.images[index])), images.labels[index]
            model.eval()
            x_adv = _pgd(model, x, y)
            model.train()
            optimiser.zero_grad()
            F.cross_entropy(model(x_adv), y, label_smoothing=0.4).backward()
            optimiser.step()
            with torch.no_grad():
                for own, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                    if own.is_floating_point():
                        own.mul_(0.9995).add_(new, alpha=0.0005)
                    else:
                        own.copy_(new)

    return run


def _augmented(x: Tensor) -> Tensor:
    """Each image by itself, as a loader's transforms do."""
    padded, made = F.pad(x, (4, 4, 4, 4)), []
    for number in range(len(x)):
        top, left = torch.randint(9, (2,)).tolist()
        part = padded[number, :, top : top + x.shape[2], left : left + x.shape[3]]
        made.append(part.flip(2) if torch.rand(()) < 0.5 else part)
    return torch.stack(made)


def _pgd(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
    for _ in range(STEPS):
        x_adv.requires_grad_()
        (grad,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
        x_adv = x_adv.detach() + STEP * grad.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
    return x_adv


def by_profile(arch: str, images: Split, precision: Precision) -> Callable[[], object]:
    """Our epoch of Madry in the `fastat` profile."""
    composed = compose(Request(defense="madry", dataset="cifar10", profile="fastat", arch=arch))
    plan = composed.plan
    recipe = replace(plan.recipe, epochs=10**6, precision=precision)
    problem = Problem(plan.defense, plan.threat, recipe, images, images, 10)
    state, setup = prepared(composed.build, problem, [0], CPU)
    known: set[int] = set()
    return lambda: train_epoch(state, setup, 1, known, lambda done, rate: None)


def _model(arch: str) -> nn.Module:
    return initialised(compose(Request(defense="madry", dataset="cifar10", arch=arch)).build, 0)
