"""RobustBench's rules of admission, measured: deterministic forward passes, gradients, no optimisation inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robench_fire.evaluation import checks
from robench_fire.evaluation.reliability import Check

IMAGES = 200


def admission(model: nn.Module, x: Tensor, label: Tensor) -> list[Check]:
    """The three rules, and that the model returns logits, on images ``x`` (N, C, H, W) in [0, 1] on its device."""
    x, label = x[:IMAGES], label[:IMAGES]
    with torch.no_grad():
        first, again = model(x), model(x)
        split = torch.cat([model(part) for part in x.split(max(len(x) // 4, 1))])
    same = torch.equal(first, again)
    apart = float((first - split).abs().max())
    share = _with_gradient(model, x, label)
    dynamic = checks.dynamic(model, x[:8])
    flags = checks.flags(model, x, label)
    return [
        Check("eval mode", not model.training, "in training mode" if model.training else "model.training is False"),
        Check(
            "deterministic forward pass",
            same and "randomised" not in flags,
            f"two passes over {len(x)} images are {'equal bit for bit' if same else 'not equal'}; "
            f"in four parts they differ by at most {apart:.1e}",
        ),
        Check(
            "non-zero gradients with respect to the input",
            share > 0.5,
            f"the gradient of cross-entropy is non-zero for {share:.1%} of {len(x)} images",
        ),
        Check(
            "no optimisation loop at inference",
            not dynamic,
            "the forward pass computes gradients" if dynamic else "the forward pass computes no gradients",
        ),
        Check("returns logits", "probabilities instead of logits" not in flags, ", ".join(flags) or "logits"),
    ]


def _with_gradient(model: nn.Module, x: Tensor, label: Tensor) -> float:
    """Share of images whose loss changes with some pixel."""
    moved = 0
    for part, its in zip(x.split(25), label.split(25), strict=True):  # a large network's activations take memory
        part = part.clone().requires_grad_(True)
        loss = functional.cross_entropy(model(part), its, reduction="sum")
        (grad,) = torch.autograd.grad(loss, part)
        moved += int((grad.flatten(1).abs().amax(1) > 0).sum())
    return moved / len(x)


def listed(found: Sequence[Check]) -> dict[str, Any]:
    """As JSON."""
    return {
        "passed": bool(found) and all(each.passed is True for each in found),
        "checks": [asdict(each) for each in found],
    }
