"""The updates of support/needs.py written down once more, in plain torch: attack, passes, loss, step, and nothing else.

Shared with the engine are only the random draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from needs import LINF
from torch import Tensor, nn
from torch.nn import functional as F

from robench_fire.data.batches import batches
from robench_fire.devices.random_streams import generator
from robench_fire.training.engine import initialised
from robench_fire.training.setup import Problem

CPU = torch.device("cpu")


class Known(NamedTuple):
    """Of one update: clean images, targets, epoch / epochs, the teacher, random images, the number of the batch."""

    x: Tensor
    target: Tensor
    progress: float
    teacher: nn.Module
    near: Tensor
    turn: int


Loss = Callable[[nn.Module, Known, list[Tensor]], Tensor]
"""(Network in train mode, what is known, perturbed images of each attack) to the loss of the batch."""


def ce(logits: Tensor, target: Tensor) -> Tensor:
    return -(target * F.log_softmax(logits, 1)).sum(1)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(q, 1), F.log_softmax(p, 1), reduction="none", log_target=True).sum(1)


def trades(lam: float, p: Tensor, q: Tensor, target: Tensor) -> Tensor:
    return ce(p, target).mean() + lam * kl(p, q).mean()


def plain(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    return trades(6, f(known.x), f(adv[0]), known.target)


def further(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    loss, helper = plain(f, known, adv), (known.x + 2 * (adv[0] - known.x)).clamp(0, 1)
    return loss + ce(f(helper), known.target).mean() / 2


def second(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    return plain(f, known, adv) + ce(f(adv[1]), known.target).mean()


def features(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    first, last = f.classifier[:2], f.classifier[2]  # type: ignore[index]
    a, b = (first(f.features(x).flatten(1)) for x in (known.x, adv[0]))  # type: ignore[operator]
    return trades(6, last(a), last(b), known.target) + (a - b).square().mean()


def slope(f: nn.Module, known: Known, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    loss = ce(f(x), known.target)
    (gradient,) = torch.autograd.grad(loss.sum(), x, create_graph=True)
    return loss.mean() + 0.1 * gradient.square().sum((1, 2, 3)).mean()


def slopes(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    a, b = known.x.clone().requires_grad_(), adv[0].clone().requires_grad_()
    p, q = f(a), f(b)
    both = torch.autograd.grad(kl(p, q).sum(), (a, b), create_graph=True)
    return trades(6, p, q, known.target) + sum(each.square().sum() / len(a) for each in both)


def nuclear(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    p, q = f(known.x), f(adv[0])
    return trades(6, p, q, known.target) + torch.linalg.svdvals(q - p).sum() / len(p)


def near(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    return plain(f, known, adv) + ce(f(known.near), known.target).mean()


def slopes_near(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    a, c = known.x.clone().requires_grad_(), known.near.clone().requires_grad_()
    p, q, r = f(a), f(adv[0]), f(c)
    at_a, at_c = (torch.autograd.grad(ce(z, known.target).sum(), x, create_graph=True)[0] for z, x in ((p, a), (r, c)))
    apart = (at_a - at_c).square().sum((1, 2, 3)).mean()
    return trades(6, p, q, known.target) + ce(r, known.target).mean() + apart


def ramp(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    lam = {0.5: 5.0, 1.0: 9.0}[known.progress]  # from 1 at a quarter to 9 at three quarters
    return trades(lam, f(known.x), f(adv[0]), known.target)


def weighted(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    p, q = f(known.x), f(adv[0])
    unsure = 1 - (known.target * p.softmax(1)).sum(1).detach()
    return ce(p, known.target).mean() + 6 * (unsure * kl(p, q)).mean()


def taught(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    told = known.teacher(known.x)
    return kl(told, f(known.x)).mean() / 6 + kl(told, f(adv[0])).mean() * 5 / 6


def taught_twice(f: nn.Module, known: Known, adv: list[Tensor]) -> Tensor:
    p, q = f(known.x), f(adv[0])
    told = kl(known.teacher(known.x), p) + kl(known.teacher(adv[0]), q)
    return trades(6, p, q, known.target) + told.mean()


Gain = Callable[[nn.Module, Known, Tensor], Tensor]


def divergence(f: nn.Module, known: Known, z: Tensor) -> Tensor:
    return kl(f(known.x).detach(), f(z))


def error(f: nn.Module, known: Known, z: Tensor) -> Tensor:
    return ce(f(z), known.target)


def disagreement(f: nn.Module, known: Known, z: Tensor) -> Tensor:
    return kl(known.teacher(known.x), f(z))


def guided(f: nn.Module, known: Known, z: Tensor) -> Tensor:
    """Of which the mean over the batch is climbed."""
    apart = torch.linalg.svdvals(f(z) - f(known.x).detach()).sum() / len(z)
    return ce(f(z), known.target) + 3 * apart * (known.turn % 2)


STATEMENTS: dict[str, tuple[list[Gain], Loss]] = {
    "further image": ([divergence], further),
    "second attack": ([divergence, error], second),
    "features": ([divergence], features),
    "slopes": ([error], lambda f, known, adv: slope(f, known, adv[0])),
    "slopes at both": ([divergence], slopes),
    "slopes without an attack": ([], lambda f, known, adv: slope(f, known, known.x)),
    "batch term": ([divergence], nuclear),
    "ramp": ([divergence], ramp),
    "coefficient of an example": ([divergence], weighted),
    "perturbed weights": ([divergence], plain),
    "perturbed weights, late": ([divergence], plain),
    "perturbed weights, all at once": ([divergence, error], second),
    "perturbed weights, slopes": ([error], lambda f, known, adv: slope(f, known, adv[0])),
    "mixup": ([divergence], plain),
    "cutmix": ([divergence], plain),
    "teacher": ([disagreement], taught),
    "teacher of both": ([divergence], taught_twice),
    "start": ([divergence], plain),
    "batch gain": ([guided], nuclear),
    "random image": ([divergence], near),
    "slopes at a random image": ([divergence], slopes_near),
    "far from the image": ([divergence], plain),
    "corners": ([divergence], plain),
    "replays": ([], plain),
    "replays, perturbed weights": ([], plain),
}


def begun(name: str, x: Tensor, noise: torch.Generator) -> Tensor:
    """Anywhere in a ball of 0.2 or 0.4, or at a corner of one of 0.1."""
    if name == "far from the image":
        return (x + torch.empty_like(x).uniform_(-0.4, 0.4, generator=noise)).clamp(0, 1)
    if name == "corners":
        return (x + 0.1 * torch.empty_like(x).uniform_(-1, 1, generator=noise).sign()).clamp(0, 1)
    return LINF.sample(x, noise)


def climbed(name: str, f: nn.Module, known: Known, gain: Gain, noise: torch.Generator) -> Tensor:
    """Two steps of 0.1 in a ball of 0.2, from somewhere in it."""
    z = begun(name, known.x, noise)
    for _ in range(2):
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(gain(f, known, z).sum(), z)
        z = z.detach() + 0.1 * gradient.sign()
        z = (known.x + (z - known.x).clamp(-0.2, 0.2) if name != "far from the image" else z).clamp(0, 1)
    return z


def mixed(name: str, x: Tensor, target: Tensor, views: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images and targets after mixup with alpha 0.5, or after CutMix with alpha 1."""
    partner = torch.randperm(len(x), generator=views)
    gamma = torch._standard_gamma(torch.full((2,), 0.5 if name == "mixup" else 1.0), generator=views)
    share = float(gamma[0] / gamma.sum())
    if name == "mixup":
        return share * x + (1 - share) * x[partner], share * target + (1 - share) * target[partner]
    row, column = (8 * torch.rand(2, generator=views)).tolist()
    half, x = 4 * (1 - share) ** 0.5, x.clone()
    other, cut = x[partner], 0
    for i in range(8):
        for j in range(8):
            if abs(i + 0.5 - row) < half and abs(j + 0.5 - column) < half:
                x[:, :, i, j] = other[:, :, i, j]
                cut += 1
    return x, (1 - cut / 64) * target + cut / 64 * target[partner]


KERNELS = [f"{layer}.weight" for layer in ("features.0", "features.3", "classifier.0", "classifier.2")]


def away(f: nn.Module, gradients: list[Tensor], gamma: float) -> list[Tensor]:
    """What is added to each weight: gamma of its norm along the gradient, for kernels."""
    return [
        gamma * weight.detach().norm() / gradient.norm() * gradient if name in KERNELS else torch.zeros_like(weight)
        for (name, weight), gradient in zip(f.named_parameters(), gradients, strict=True)
    ]


def straight(name: str, given: Problem, build: Callable[[], nn.Module], perturbed_from: float) -> nn.Module:
    """The network of seed 0 after all epochs; weights are perturbed by 0.02 from ``perturbed_from`` on."""
    f = initialised(build, 200 if name == "start" else 0)
    teacher = initialised(build, 100).eval()
    sgd = torch.optim.SGD(f.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    turn, kept = 0, torch.zeros(given.recipe.batch_size, 1, 8, 8)
    for epoch in range(1, given.recipe.epochs + 1):
        noise, views = generator(CPU, 0, "attack", epoch), generator(CPU, 0, "augmentation", epoch)
        for rows in batches(given.recipe, len(given.train.labels), 0, generator(CPU, 0, "order", epoch)):
            x, target = given.train.images[rows].float() / 255, F.one_hot(given.train.labels[rows], 10).float()
            if name in ("mixup", "cutmix"):
                x, target = mixed(name, x, target, views)
            known, turn = Known(x, target, epoch / given.recipe.epochs, teacher, x, turn), turn + 1
            for _ in range(3 if name.startswith("replays") else 1):
                kept = updated(name, f, sgd, known, noise, perturbed_from, kept)
    return f


def updated(
    name: str, f: nn.Module, sgd: torch.optim.Optimizer, known: Known, noise: torch.Generator, perturbed_from: float,
    kept: Tensor,
) -> Tensor:  # fmt: skip
    """One update; the perturbation that it leaves, of replays, whose gradient at the images is that of the loss."""
    gains, loss = STATEMENTS[name]
    f.eval()
    adv = [climbed(name, f, known, gain, noise) for gain in gains]
    f.train()
    if name.endswith("random image"):
        offset = torch.empty_like(known.x).uniform_(-0.1, 0.1, generator=noise)
        known = known._replace(near=(known.x + offset).clamp(0, 1))
    if name.startswith("replays"):
        adv = [(known.x + kept[: len(known.x)]).clamp(0, 1).requires_grad_()]
    moves = []
    if known.progress >= perturbed_from:
        before = {key: value.clone() for key, value in f.named_buffers()}
        moves = away(f, list(torch.autograd.grad(loss(f, known, adv), list(f.parameters()))), 0.02)
        f.load_state_dict(before, strict=False)
    with torch.no_grad():
        for weight, move in zip(f.parameters(), moves, strict=False):
            weight += move
    sgd.zero_grad()
    loss(f, known, adv).backward()
    sgd.step()
    with torch.no_grad():
        for weight, move in zip(f.parameters(), moves, strict=False):
            weight -= move
    if not name.startswith("replays"):
        return kept
    assert adv[0].grad is not None
    moved = kept.clone()
    moved[: len(known.x)] = (kept[: len(known.x)] + 0.15 * adv[0].grad.sign()).clamp(-0.2, 0.2)
    return moved
