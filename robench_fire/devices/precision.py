"""Which number formats a training computes in, and in which order pixels lie.

Only convolutions and matrix products change: losses and distances are float32 in every format (robench_fire.losses),
and so are the weights, the optimiser and the images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from robench_fire.errors import RecipeError
from robench_fire.problem.recipe import Recipe

Format = Literal["fp32", "tf32", "bf16", "fp16"]

SHORT = {"bf16": torch.bfloat16, "fp16": torch.float16}
GAIN_SCALE = 1024.0  # of an attack's gain in fp16, whose smallest gradients would vanish; no step's direction sees it
WIDE = 16  # pixels; narrower images gain nothing from channels_last on a CPU


@dataclass(frozen=True)
class Arithmetic:
    """The formats of the update, of the attack, and of the attack's clean logits and first step.

    Next to the image, where TRADES and FIRE start, a divergence is smaller than bf16's rounding of the logits: the
    first step would follow that rounding (docs/performance.md), so it has a format of its own.
    """

    update: Format
    attack: Format
    first: Format


def resolve(recipe: Recipe, device: torch.device) -> Arithmetic:
    """The recipe's formats on ``device``; ``auto`` is what docs/performance.md found best there.

    Raises:
        RecipeError: if the device cannot compute in a format that was asked for.
    """
    exact: Format = "tf32" if "tf32" in supported(device) else "fp32"
    usual: Format = "bf16" if device.type == "cuda" and "bf16" in supported(device) else "fp32"
    update = usual if recipe.precision == "auto" else recipe.precision
    if recipe.attack_precision != "auto":
        attack = first = recipe.attack_precision
    else:
        beside_the_image = recipe.attack is not None and recipe.attack.beside
        attack, first = update, exact if update in SHORT and beside_the_image else update
    for flag, chosen in (("--precision", update), ("--attack-precision", attack)):
        if chosen not in supported(device):
            raise RecipeError(f"{flag} {chosen}: this {device.type} computes in {', '.join(supported(device))}")
    return Arithmetic(update, attack, first)


def supported(device: torch.device) -> tuple[Format, ...]:
    """The formats that ``device`` has instructions for."""
    if device.type == "cuda":
        recent = torch.cuda.get_device_capability(device) >= (8, 0)
        return ("fp32", "tf32", "bf16", "fp16") if recent else ("fp32", "fp16")
    short = [name for name in SHORT if getattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported", bool)()]
    return cast("tuple[Format, ...]", ("fp32", *short))


@contextmanager
def rounding(chosen: Format) -> Iterator[None]:
    """Let a GPU round float32 products to TF32, or not; holds for forward and backward passes in the body."""
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = chosen != "fp32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


def autocast(chosen: Format, device: torch.device) -> torch.autocast:
    """Forward passes in the body compute in a 16-bit format, if that is chosen.

    Without autocast's cache: before torch 2.11 a pass without gradient left weights in it that gave later passes none.
    """
    return torch.autocast(device.type, SHORT.get(chosen), enabled=chosen in SHORT, cache_enabled=False)


def lay_out(model: nn.Module, width: int) -> None:
    """Give a model's convolutions the layout of images ``width`` pixels wide."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = layout(width)(parameter.data)


def layout(width: int) -> Callable[[Tensor], Tensor]:
    """How images ``width`` pixels wide and convolutions' weights lie in memory: channels last where that is faster."""
    if width < WIDE:
        return torch.Tensor.contiguous
    return lambda x: x.contiguous(memory_format=torch.channels_last)
