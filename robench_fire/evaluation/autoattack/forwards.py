"""A model as attacks call it: the same function, arranged for many small batches and gradients of its input."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from robench_fire import stopping
from robench_fire.devices.precision import rounding
from robench_fire.evaluation import checks
from robench_fire.problem.pgd import Forward

PIXELS = 200_000  # shown to the model at a time on a CPU: more leaves its cache, fewer waste calls


def as_loaded(model: nn.Module, images: Tensor, num_classes: int, dynamic: bool) -> Forward:
    """``model`` itself, in batches that suit the device and images like ``images``.

    Where no gradient is asked for, none is prepared, unless the model is ``dynamic``: uses gradients itself.
    """
    return _forward(model, torch.preserve_format, part(images), num_classes, dynamic)


def forward_of(model: nn.Module, images: Tensor, num_classes: int, dynamic: bool = False) -> Forward:
    """A copy of ``model`` that computes the same, up to rounding, and its input's gradient sooner.

    Batch norms are folded into convolutions or replaced by a scale and shift; colour images go channels last. It is the
    model as it was loaded where a copy cannot be made, or does not give the same logits for a few images.
    """
    plain, form, few = as_loaded(model, images, num_classes, dynamic), layout(images), images[:8]
    if dynamic:
        return plain
    try:
        copied = simplified(fused(copy.deepcopy(model))).to(memory_format=form)
        fast = _forward(copied, form, part(images), num_classes, dynamic)
        with torch.enable_grad():
            fast(few.clone().requires_grad_()).sum().backward()
        with torch.no_grad(), rounding("fp32"):  # TF32 would make the same function look like another
            same = torch.allclose(fast(few), plain(few), rtol=1e-3, atol=1e-4)
    except Exception:  # whatever a model of unknown make objects to
        return plain
    return fast if same else plain


def _forward(model: nn.Module, form: torch.memory_format, size: int, num_classes: int, dynamic: bool) -> Forward:
    def run(x: Tensor) -> Tensor:
        parts = [checks.logits(model(part), len(part), num_classes) for part in x.to(memory_format=form).split(size)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).float()

    def forward(x: Tensor) -> Tensor:
        stopping.check()  # between two calls of whatever attacks the model
        if dynamic or torch.is_grad_enabled():
            return run(x)
        with torch.inference_mode():
            found = run(x)
        return found.clone()  # an ordinary tensor, which attacks may write into

    return forward


def layout(images: Tensor) -> torch.memory_format:
    """Channels last for colour images; grey ones have one channel, whose place makes no difference."""
    return torch.channels_last if images.shape[1] > 1 else torch.contiguous_format


def part(images: Tensor) -> int:
    """How many images the model is shown at a time: on a CPU, what stays in its cache."""
    return max(1, PIXELS // images[0].numel()) if images.device.type == "cpu" else len(images)


class Affine(nn.Module):
    """What batch norm is in eval mode: a fixed scale and shift per channel, whose backward is one product."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        shift = -norm.running_mean * scale
        if norm.affine:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        self.register_buffer("scale", scale.detach().view(-1, 1, 1))
        self.register_buffer("shift", shift.detach().view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


def fused(model: nn.Module) -> nn.Module:
    """``model``, in eval mode, with batch norms folded into the convolutions before them, if torch.fx can trace it."""
    try:
        from torch.fx.experimental.optimization import fuse  # may move: it is called experimental

        folded: nn.Module = fuse(model)
    except Exception:  # control flow that depends on the data, among others
        return model
    return folded.requires_grad_(False)


def simplified(model: nn.Module) -> nn.Module:
    """``model``, in eval mode, with every batch norm in it replaced by its scale and shift; changes ``model``."""
    for name, child in model.named_children():
        if type(child) is nn.BatchNorm2d and child.running_mean is not None and not child.training:
            setattr(model, name, Affine(child))
        else:
            simplified(child)
    return model
