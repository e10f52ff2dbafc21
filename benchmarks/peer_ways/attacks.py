"""Attacks on one trained network: PGD-10 as trainings use it, and AutoAttack."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import one_hot
from training_speed import EPS, STEP, STEPS

from peer_ways.training import formats
from peer_ways.turns import Comparison, Outcome, Way, attacked
from robench_fire import Linf, evaluate
from robench_fire.data.batches import to_float
from robench_fire.devices.workers import cores
from robench_fire.problem.dataset import Split
from robench_fire.problem.defense import Views
from robench_fire.problem.recipe import Precision
from robench_fire.runs.compose import Request, compose
from robench_fire.training import attack as training_attack
from robench_fire.training.engine import prepared
from robench_fire.training.epoch import train_epoch
from robench_fire.training.setup import Problem

CPU = torch.device("cpu")
RADIUS = "8/255"


def trained(arch: str, images: Split, epochs: int) -> nn.Module:
    """A network after a short training with TRADES: no good one, but one that AutoAttack has work with."""
    composed = compose(Request(defense="trades", dataset="cifar10", arch=arch, epochs=epochs))
    recipe = replace(composed.plan.recipe, batch_size=128)
    problem = Problem(composed.plan.defense, composed.plan.threat, recipe, images, images, 10)
    state, setup = prepared(composed.build, problem, [0], CPU)
    known: set[int] = set()
    for epoch in range(1, epochs + 1):
        train_epoch(state, setup, epoch, known, lambda done, rate: None)
    return state.model.eval().to(memory_format=torch.contiguous_format)


def pgd(arch: str, model: nn.Module, images: Split) -> Comparison:
    """PGD-10 on cross-entropy from anywhere in the ball, on one batch."""
    x, y = to_float(images.images), images.labels

    def made() -> Mapping[str, Way]:
        return {
            "torchattacks": attacked(lambda: _torchattacks(model, "PGD")(x, y), model, y),
            "adversarial-robustness-toolbox": attacked(lambda: _art(model, x, y), model, y),
            **{name: attacked(_in_training(arch, model, images, each), model, y) for name, each in formats().items()},
        }

    needs = {"torchattacks": "torchattacks", "adversarial-robustness-toolbox": "art"}
    return Comparison("PGD-10", f"{arch}, {len(y)} images", made, needs)


def _torchattacks(model: nn.Module, kind: str) -> nn.Module:
    import torchattacks

    own = copy.deepcopy(model)
    if kind == "PGD":
        return torchattacks.PGD(own, eps=EPS, alpha=STEP, steps=STEPS, random_start=True)  # type: ignore[no-any-return]
    return torchattacks.AutoAttack(own, norm="Linf", eps=EPS, version="standard", n_classes=10, seed=0)  # type: ignore[no-any-return]


def _art(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        copy.deepcopy(model), loss=nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]), nb_classes=10,
        clip_values=(0.0, 1.0), device_type="cpu",
    )  # fmt: skip
    attack = ProjectedGradientDescentPyTorch(
        classifier, eps=EPS, eps_step=STEP, max_iter=STEPS, num_random_init=1, batch_size=len(x), verbose=False
    )
    return torch.from_numpy(attack.generate(x.numpy(), one_hot(y, 10).numpy()))


def _in_training(arch: str, model: nn.Module, images: Split, precision: Precision) -> Callable[[], Tensor]:
    """The attack of our training loop."""
    composed = compose(Request(defense="madry", dataset="cifar10", arch=arch))
    recipe = replace(composed.plan.recipe, precision=precision)
    problem = Problem(composed.plan.defense, composed.plan.threat, recipe, images, images, 10)
    state, setup = prepared(lambda: copy.deepcopy(model), problem, [0], CPU)
    x, y, noise = setup.layout(to_float(images.images)), images.labels, torch.Generator().manual_seed(0)
    target = one_hot(y, 10).float()
    seen = Views(None, target, target, y)  # no logits yet, as in a step
    return lambda: training_attack.attacked(state.model, setup, x, seen, [noise])[0]["adv"]


def autoattack(arch: str, model: nn.Module, images: Split) -> Comparison:
    """AutoAttack standard on the first test images."""
    x, y = to_float(images.images), images.labels

    def upstream() -> Tensor:
        from pyautoattack import AutoAttack

        attack = AutoAttack(copy.deepcopy(model), norm="Linf", eps=EPS, seed=0, version="standard")
        found: Tensor = attack.run_standard_evaluation(x, y)[0]
        return found

    def made() -> Mapping[str, Way]:
        return {
            "pyautoattack": attacked(upstream, model, y),
            "torchattacks": attacked(lambda: _torchattacks(model, "AutoAttack")(x, y), model, y),
            "ours, rb.evaluate": lambda: _called(model, x, y),
            "ours, robench eval": lambda: _commanded(arch, model, len(y)),
        }

    needs = {"pyautoattack": "pyautoattack", "torchattacks": "torchattacks"}
    return Comparison("AutoAttack", f"{arch}, {len(y)} images; `robench eval` from its start to its end", made, needs)


def _called(model: nn.Module, x: Tensor, y: Tensor) -> Outcome:
    started = perf_counter()
    found = evaluate(model, x, y, threat=Linf(RADIUS), progress=False)
    return Outcome(perf_counter() - started, int(found.robust.sum()))


def _commanded(arch: str, model: nn.Module, count: int) -> Outcome:
    """The whole command on a checkpoint, with its check of the model and its files; batches for all cores."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.safetensors"
        save_file({name: each.contiguous() for name, each in model.state_dict().items()}, file)
        words = f"eval {file} --dataset cifar10 --arch {arch} --attack aa --examples {count} --json --eps {RADIUS}"
        batch = math.ceil(count / cores())
        command = [sys.executable, "-m", "robench_fire", *words.split(), "--norm", "Linf", "--batch-size", str(batch)]
        started = perf_counter()
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = perf_counter() - started
        (facts,) = json.loads(ran.stdout)["evaluations"]
        return Outcome(seconds, round(facts["robust"] * count / 100))
