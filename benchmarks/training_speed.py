"""A training step, ours and as the released codes compute it, side by side on this machine.

    python benchmarks/training_speed.py [--device cuda] [--arch resnet-18] [--batch 64] [--rounds 5]

Real CIFAR-10 images. Steps take turns, round by round, so that all meet the same load; ratios are of medians.

- ``released``: FIRE and TRADES plainly, float32, NCHW, PyTorch's defaults (on a GPU: TF32 convolutions). FIRE: clean
  softmax once, then three train-mode passes (perturbed, whose result is thrown away; clean; perturbed). TRADES: the
  clean softmax anew at every attack step, then clean, perturbed, clean.
- ``bare``: the step that we compute, as a dozen lines with no harness around them.
- ``ours``: robench_fire's own epoch, with its random streams, clock, finiteness check and progress.

Peak memory is of two steps, beyond what was there before: allocated on a GPU; on a CPU (Linux) resident, each way in a
process of its own. ``--json`` also has what utilisation takes: the FLOPs of our update, the rate of matrix products.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from step_meters import Step, peak, took
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import one_hot

from robench_fire.costs.account import flops_per_image
from robench_fire.data import fetching
from robench_fire.data.batches import augmented, to_float
from robench_fire.devices.device import resolve as resolve_device
from robench_fire.devices.device import use
from robench_fire.devices.meters import matmul_rate
from robench_fire.devices.precision import autocast, layout, resolve, rounding, supported
from robench_fire.errors import RobenchError
from robench_fire.losses import cross_entropy, kl, squared_half_angle
from robench_fire.problem.dataset import Split, head
from robench_fire.problem.recipe import Sgd
from robench_fire.runs import provenance
from robench_fire.runs.compose import Request, compose
from robench_fire.training.engine import initialised, prepared
from robench_fire.training.epoch import train_epoch
from robench_fire.training.setup import Problem, frozen

EPS, STEP, STEPS = 8 / 255, 2 / 255, 10


@dataclass(frozen=True)
class Case:
    """What every way of computing a step is given."""

    defense: str
    arch: str
    device: torch.device
    split: Split  # one batch
    precision: str
    compiling: bool = False
    attack_precision: str = "auto"
    mode: str | None = None  # of torch.compile

    @property
    def problem(self) -> Problem:
        batch = len(self.split.labels)
        plan = compose(Request(defense=self.defense, dataset="cifar10", arch=self.arch, epochs=10**6)).plan
        chosen: dict[str, Any] = {"precision": self.precision, "attack_precision": self.attack_precision}
        recipe = replace(plan.recipe, batch_size=batch, **chosen)
        return Problem(plan.defense, plan.threat, recipe, self.split, self.split, 10)

    def model(self) -> nn.Module:
        return initialised(compose(Request(defense=self.defense, dataset="cifar10", arch=self.arch)).build, 0)


def half_angle(p: Tensor, q: Tensor) -> Tensor:
    """The distance as released, with the offset that keeps it finite in float32."""
    return (torch.sqrt(p * q).sum(1) - 1e-6).clamp(-1, 1).acos().square()


def released(case: Case) -> Step:
    """The released step: its augmentation is a loader's work there and not counted here."""
    model = case.model().to(case.device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    x, y = to_float(case.split.images).to(case.device), case.split.labels.to(case.device)
    fire = case.defense == "fire"

    def distance(z: Tensor, z_adv: Tensor) -> Tensor:
        p, q = F.softmax(z, 1), F.softmax(z_adv, 1)
        return half_angle(p, q) if fire else F.kl_div(F.log_softmax(z_adv, 1), p, reduction="none").sum(1)

    def run() -> None:
        model.eval()
        with torch.no_grad():
            clean = model(x)
        x_adv = x + 0.001 * torch.randn_like(x)
        for _ in range(STEPS):
            x_adv.requires_grad_()
            loss = distance(clean if fire else model(x), model(x_adv)).sum()
            (grad,) = torch.autograd.grad(loss, x_adv)
            x_adv = x_adv.detach() + STEP * grad.sign()
            x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
        model.train()
        optimiser.zero_grad()
        if fire:
            model(x_adv)
            z, z_adv = model(x), model(x_adv)
            natural = z
        else:
            natural = model(x)
            z_adv, z = model(x_adv), model(x)
        (F.cross_entropy(natural, y) + (12 if fire else 6) * distance(z, z_adv).mean()).backward()
        optimiser.step()

    return run


def bare(case: Case) -> Step:
    """Our step without the harness."""
    recipe, laid = case.problem.recipe, layout(32)
    formats, device = resolve(recipe, case.device), case.device
    model = case.model().to(device).to(memory_format=torch.channels_last)
    sgd = recipe.optimiser
    assert isinstance(sgd, Sgd)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=sgd.weight_decay, fused=True
    )
    images, y = case.split.images.to(device), case.split.labels.to(device)
    target, divergence = one_hot(y, 10).float(), squared_half_angle if case.defense == "fire" else kl
    noise, weight = torch.Generator(device), 12 if case.defense == "fire" else 6

    def run() -> None:
        x = laid(augmented(images, recipe.augment, noise))
        with frozen(model), rounding(formats.attack):
            with torch.no_grad(), autocast(formats.first, device):
                clean = model(x).float()
            x_adv = x + 0.001 * torch.empty_like(x).normal_(generator=noise)
            for number in range(STEPS):
                x_adv.requires_grad_()
                with autocast(formats.attack if number else formats.first, device):
                    logits = model(x_adv).float()
                (grad,) = torch.autograd.grad(divergence(clean, logits).sum(), x_adv)
                x_adv = x_adv.detach() + STEP * grad.sign()
                x_adv = torch.minimum(torch.maximum(x_adv, x - EPS), x + EPS).clamp(0, 1)
        with rounding(formats.update):
            with autocast(formats.update, device):
                z, z_adv = model(x).float(), model(x_adv).float()
            (cross_entropy(z, target).mean() + weight * divergence(z, z_adv).mean()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return run


def ours(case: Case) -> Step:
    """An epoch of one batch."""
    build = compose(Request(defense=case.defense, dataset="cifar10", arch=case.arch)).build
    compiler = partial(torch.compile, mode=case.mode) if case.mode else torch.compile
    with mock.patch.object(torch, "compile", compiler):
        state, setup = prepared(build, case.problem, [0], case.device, case.compiling, say=print)
    known: set[int] = set()
    return lambda: train_epoch(state, setup, 1, known, lambda done, rate: None)


WAYS: dict[str, Callable[[Case], Step]] = {"released": released, "bare": bare, "ours": ours}


def times(defense: str, cases: dict[str, Case], rounds: int) -> dict[str, float]:
    """Median seconds of a step in each way; prints them with their ratio to the first. One that fails is left out."""
    steps: dict[str, Step] = {}
    for name, case in cases.items():
        step, device = WAYS[name.split()[0]](case), case.device
        try:
            for _ in range(3 if device.type == "cuda" else 1):  # CUDA graphs are recorded in the third
                took(step, device)
            steps[name] = step
        except (RuntimeError, RobenchError) as fault:
            print(f"{defense:7} {name:29} fails: {str(fault).strip().splitlines()[0]}", flush=True)
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(took(step, device))
    medians = {name: statistics.median(values) for name, values in found.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        spread = f"{min(found[name]):.3f} to {max(found[name]):.3f}"
        print(f"{defense:7} {name:29} {median:8.3f} s ({spread}) {first / median:6.2f}x", flush=True)
    return medians


def peaks(case: Case, options: list[str]) -> dict[str, float]:
    """MB at the peak of a step in each way."""
    found = {}
    for name in ("released fp32", "bare fp32", "ours fp32", "bare bf16", "ours bf16"):
        way, precision = name.split()
        if case.device.type == "cuda":
            found[name] = peak(partial(WAYS[way], replace(case, precision=precision)), case.device)
        else:
            command = [sys.executable, __file__, *options, "--peak", way, precision]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = float(ran.stdout.split()[-1])
        print(f"peak of a FIRE step, {name}: {found[name]:.0f} MB", flush=True)
    return found


def cases_of(plain: Case, compiled: bool, graphs: bool) -> dict[str, Case]:
    """All ways to compute a step, by name; its first word is one of WAYS."""
    short = replace(plain, precision="bf16")
    through = replace(short, attack_precision="bf16")
    found = {"released": plain, "ours fp32": plain}
    if "tf32" in supported(plain.device):
        found["ours tf32"] = replace(plain, precision="tf32")
    found |= {"bare bf16": short, "ours bf16": short, "ours bf16 throughout": through}
    if compiled:
        found["ours bf16 compiled"] = replace(short, compiling=True)
        found["ours bf16 throughout compiled"] = replace(through, compiling=True)
    if graphs:
        found["ours bf16 graphs"] = replace(short, compiling=True, mode="reduce-overhead")
    return found


def images(count: int, random: bool) -> Split:
    """The first training images of CIFAR-10, or random ones of their shape."""
    if random:
        return Split(torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (count,)))
    dataset = compose(Request(defense="fire", dataset="cifar10")).dataset
    return head(fetching.splits("cifar10", dataset, fetching.data_folder()).train, count)


def measure(asked: argparse.Namespace, case: Case) -> Iterator[dict[str, Any]]:
    """What is known so far, after each part: compilation may take longer than there is time."""
    found: dict[str, Any] = {"arch": asked.arch, "batch": asked.batch}
    if asked.least:
        few = {name: each for name, each in cases_of(case, False, False).items() if name in ("released", "ours fp32")}
        yield {**found, "fire": times("fire", few, asked.rounds)}
        return
    one = replace(case.problem, recipe=replace(case.problem.recipe, epochs=1))
    found["FLOPs of an update"] = asked.batch * flops_per_image(case.model, one)
    found["matmul FLOP/s"] = {each: matmul_rate(case.device, each) for each in supported(case.device)}
    for defense in ("fire", "trades"):
        cases = cases_of(replace(case, defense=defense), asked.compile, asked.reduce_overhead)
        yield found | {defense: times(defense, cases, asked.rounds)}
    same = ["--device", asked.device, "--arch", asked.arch, "--batch", str(asked.batch)]
    yield {"peak MB": peaks(case, same + ["--random"] * asked.random)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arch", default="resnet-18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="Also ours compiled.")
    parser.add_argument("--reduce-overhead", action="store_true", help="Also ours compiled to CUDA graphs.")
    parser.add_argument("--random", action="store_true", help="Random images: where CIFAR-10 is not there.")
    parser.add_argument("--least", action="store_true", help="Only FIRE, as released and ours in float32; no peaks.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "PRECISION"), help="Only the peak memory of one way.")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.backends.cudnn.benchmark = True  # for all ways, as ours has it
    device = resolve_device(asked.device)
    use(device)
    case = Case("fire", asked.arch, device, images(asked.batch, asked.random), "fp32")
    if asked.peak:
        print(peak(partial(WAYS[asked.peak[0]], replace(case, precision=asked.peak[1])), device))
        return
    where = f"{provenance.device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{where}; {asked.arch}, batch {asked.batch}")
    results: dict[str, Any] = {}
    for found in measure(asked, case):
        results |= found
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
