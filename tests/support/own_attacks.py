"""Attacks of a user's own, as functions and as files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

CLIMB = '''"""PGD on the margin."""

import torch


def climb(model, x, y, eps):
    delta = torch.empty_like(x).uniform_(-eps, eps)
    for _ in range(10):
        delta.requires_grad_()
        logits = model((x + delta).clamp(0, 1))
        rest = logits.scatter(1, y[:, None], -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad((rest - logits.gather(1, y[:, None])[:, 0]).sum(), delta)
        delta = (delta.detach() + eps / 4 * gradient.sign()).clamp(-eps, eps)
    return (x + delta).clamp(0, 1)


def far(model, x, y, eps):
    return (x + 2 * eps).clamp(0, 1)
'''


def written(folder: Path, text: str = CLIMB, name: str = "attack.py") -> Path:
    """The file, in a folder."""
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def noise(model: nn.Module, x: Tensor, y: Tensor, eps: float, surrogate: nn.Module | None = None) -> Tensor:
    """Random signs, from torch's global generator."""
    return (x + eps * torch.sign(torch.randn_like(x))).clamp(0, 1)
