"""Which number format may the attack and the update compute in? Evidence on real images.

    python benchmarks/precision.py agreement [--device cuda] [--arch wrn-10-1]
    python benchmarks/precision.py training  [--device cuda] [--dataset cifar10] [--arch wrn-10-1] [--seeds 3]

``agreement``: the share of pixels in which the sign of the attack's gradient is float32's, at each step of float32's
own path, on a fresh and on a briefly trained network. TF32 is emulated where the device has none: inputs and weights of
every product are cut to 10 bits of mantissa.

``training``: accuracy after a short training in each format, on the first test images, in float32: clean and PGD-20.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.device import resolve as resolve_device
from robench_fire.devices.device import use
from robench_fire.devices.precision import autocast, resolve, rounding, supported
from robench_fire.devices.random_streams import generator
from robench_fire.problem.dataset import Split, Splits, head
from robench_fire.problem.defense import Views
from robench_fire.problem.pgd import Pgd, misclassify
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Composed, Request, compose
from robench_fire.training.engine import initialised, train
from robench_fire.training.setup import Problem, frozen, gains_of

MODES = {  # name: (precision, attack_precision); "auto" of a 16-bit update: the first step exact
    "fp32": ("fp32", "fp32"),
    "tf32": ("tf32", "tf32"),
    "bf16, attack fp32": ("bf16", "fp32"),
    "bf16, first step exact": ("bf16", "auto"),
    "bf16 throughout": ("bf16", "bf16"),
    "fp16, first step exact": ("fp16", "auto"),
    "fp16 throughout": ("fp16", "fp16"),
}
STEPS = 10


def cut(x: Tensor) -> Tensor:
    """``x`` rounded to TF32's 10 bits of mantissa."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


class Cut(torch.autograd.Function):
    """Rounds what passes through it to TF32, in both directions."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return cut(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return cut(grad)


@contextmanager
def emulated_tf32() -> Iterator[None]:
    """Convolutions and linear layers in the body compute as a GPU with TF32 does, but for the order of sums."""
    products = {nn.Conv2d: nn.Conv2d._conv_forward, nn.Linear: nn.Linear.forward}

    def convolved(self: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = F.conv2d(Cut.apply(x), cut(weight), bias, self.stride, self.padding, self.dilation, self.groups)
        return Cut.apply(y)  # type: ignore[no-any-return]

    def linear(self: nn.Linear, x: Tensor) -> Tensor:
        return Cut.apply(F.linear(Cut.apply(x), cut(self.weight), self.bias))  # type: ignore[no-any-return]

    nn.Conv2d._conv_forward, nn.Linear.forward = convolved, linear  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        nn.Conv2d._conv_forward = products[nn.Conv2d]  # type: ignore[method-assign,assignment]
        nn.Linear.forward = products[nn.Linear]  # type: ignore[method-assign,assignment]


def agreement(composed: Composed, model: nn.Module, split: Split, device: torch.device, format_: str) -> list[float]:
    """Percent of pixels whose gradient has float32's sign (zero where that is zero), at each step of float32's path."""
    defense, threat, attack = composed.plan.defense, composed.plan.threat, composed.plan.recipe.attack
    assert isinstance(attack, Pgd)
    x, label = to_float(split.images).to(device), split.labels.to(device)
    target = F.one_hot(label, 10).float()
    gain, shares = gains_of(model, defense)["adv"], []

    def gradient(z: Tensor, chosen: str) -> Tensor:
        emulated = emulated_tf32() if chosen == "tf32" and device.type != "cuda" else nullcontext()
        with rounding("tf32" if chosen != "fp32" else "fp32"), emulated:
            with autocast(chosen, device):  # type: ignore[arg-type]
                with torch.no_grad():
                    clean = model(x).float()
                z = z.detach().requires_grad_()
                value = gain(z, Views(clean, clean, target, label)).sum() * (1024 if chosen == "fp16" else 1)
            return torch.autograd.grad(value, z)[0]

    with frozen(model):
        z = attack.begin(x, threat, generator(device, 0, "attack", 1))
        for _ in range(STEPS):
            exact = gradient(z, "fp32")
            shares.append(100 * float((gradient(z, format_).sign() == exact.sign()).float().mean()))
            z = threat.project(threat.ascend(z, exact, attack.step), x)
    return shares


def show_agreement(dataset: str, arch: str, device: torch.device, splits: Splits) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    formats = list(dict.fromkeys([*supported(device)[1:], "bf16", "tf32"]))
    some, seen = head(splits.test, 64), head(splits.train, 1024)
    print(f"{arch}: percent of pixels with float32's sign, at attack steps 1 to {STEPS}")
    for name in ("fire", "trades", "madry"):
        composed = compose(Request(defense=name, dataset=dataset, arch=arch, epochs=4))
        plan = composed.plan
        exact = replace(plan.recipe, precision="fp32", attack_precision="fp32", batch_size=128)
        model = initialised(composed.build, 0).to(device)
        for state in ("fresh", "after 32 updates"):
            for format_ in formats:
                shares = agreement(composed, model, some, device, format_)
                listed = " ".join(f"{share:5.1f}" for share in shares)
                print(f"{name:7} {state:16} {format_:5} {listed}", flush=True)
                found[f"{name}, {state}, {format_}"] = shares
            if state == "fresh":
                problem = Problem(plan.defense, plan.threat, exact, seen, some, 10)
                model.load_state_dict(train(composed.build, problem, seed=0, device=device).weights)
    return found


def robust(model: nn.Module, composed: Composed, split: Split, device: torch.device) -> tuple[float, float]:
    """Percent right on clean images and under PGD-20 on cross-entropy, in float32."""
    step = Quantity(f"{float(composed.plan.threat.eps) / 10:.6g}")
    attack, right = Pgd(steps=20, step=step, start="uniform"), [0, 0]
    noise = generator(device, 0, "evaluation")
    with frozen(model), rounding("fp32"):
        for images, labels in zip(split.images.split(500), split.labels.split(500), strict=True):
            x, label = to_float(images).to(device), labels.to(device)
            right[0] += int((model(x).argmax(1) == label).sum())
            x_adv = attack(model, misclassify(label), x, composed.plan.threat, noise)
            right[1] += int((model(x_adv).argmax(1) == label).sum())
    return 100 * right[0] / len(split.labels), 100 * right[1] / len(split.labels)


def show_training(
    composed: Composed, device: torch.device, splits: Splits, seeds: int, images: int, modes: str
) -> dict[str, list[tuple[float, float]]]:
    """Clean and PGD-20 accuracy of each seed, by mode; ``modes`` are those whose name begins so."""
    plan = composed.plan
    recipe = replace(plan.recipe, batch_size=128)
    part, few = head(splits.train, images), head(splits.validation, 64)
    test = head(splits.test, 2000)
    possible = {
        mode: formats for mode, formats in MODES.items() if mode.startswith(modes) and formats[0] in supported(device)
    }
    found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in possible}
    for seed in range(seeds):  # seed by seed, so that an interrupted run has something of every mode
        for mode, (precision, attack_precision) in possible.items():
            chosen = replace(recipe, precision=precision, attack_precision=attack_precision)  # type: ignore[arg-type]
            problem = Problem(plan.defense, plan.threat, chosen, part, few, 10)
            trained = train(composed.build, problem, seed=seed, device=device)
            model = composed.build()
            model.load_state_dict(trained.weights)
            found[mode].append(robust(model.to(device), composed, test, device))
            clean, hard = found[mode][-1]
            print(f"seed {seed} {mode:24} clean {clean:.2f} PGD-20 {hard:.2f} ({resolve(chosen, device)})", flush=True)
    what = f"{plan.name}, {recipe.arch}, {images} images x {recipe.epochs} epochs"
    print(f"{what}, {seeds} seeds, {len(test.labels)} test images, mean ± std")
    for mode, rows in found.items():
        listed = [f"{mean(values):.2f} ± {stdev(values):.2f}" for values in zip(*rows, strict=True)]
        print(f"{mode:24} clean {listed[0]}  PGD-20 {listed[1]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("agreement", "training"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arch", default="wrn-10-1")
    parser.add_argument("--defense", default="fire")
    parser.add_argument("--seeds", type=int, default=3, help="At least 2.")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--modes", default="", help="For training: only the formats whose name begins so.")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    device = resolve_device(asked.device)
    use(device)
    composed = compose(Request(defense=asked.defense, dataset=asked.dataset, arch=asked.arch, epochs=asked.epochs))
    splits = fetching.splits(asked.dataset, composed.dataset, fetching.data_folder())
    found: object
    if asked.what == "agreement":
        found = show_agreement(asked.dataset, asked.arch, device, splits)
    else:
        found = show_training(composed, device, splits, asked.seeds, asked.images, asked.modes)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
