"""A mistake in a network of a user's own, found on two images before anything is spent."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robench_fire.errors import RecipeError
from robench_fire.models.own.network import Found, Shape, built, failed, found_of, parts


@cache
def check(arch: str, shape: Shape, num_classes: int) -> None:
    """Build a network of a plan's text and show it two images, on the CPU; torch's generator stays as it is.

    Raises:
        RecipeError: if it cannot be built, or makes anything but finite logits (N, classes) that follow the images; if
            its parameters are none, lazy or no float32; or if it is the same module each time.
    """
    found = found_of(arch)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = built(found, shape, num_classes)
        if built(found, shape, num_classes) is model:
            raise RecipeError(f"{found.where}: returns the same module each time; make a new one at each call")
        _state(found, model)
        x = torch.rand(2, *shape, requires_grad=True)
        with torch.enable_grad():
            try:
                logits = model.eval()(x)
            except Exception as fault:
                raise _not_taken(found, shape, fault) from fault
            _logits(found, logits, num_classes)
            (gradient,) = torch.autograd.grad(logits.sum(), x, allow_unused=True) if logits.requires_grad else (None,)
    if gradient is None or not gradient.isfinite().all():
        raise RecipeError(f"{found.where}: its logits have no finite gradient by the images, so nothing can attack it")


def check_trainable(model: nn.Module, arch: str) -> None:
    """Whether every parameter of a network is trained.

    Raises:
        RecipeError: naming the first that is frozen.
    """
    frozen = [name for name, each in model.named_parameters() if not each.requires_grad]
    if frozen:
        raise RecipeError(
            f"{found_of(arch).where}: {len(frozen)} of its parameters are frozen (requires_grad=False), {frozen[0]} "
            "first; all are trained here: leave that out"
        )


def _state(found: Found, model: nn.Module) -> None:
    own = dict(model.named_parameters())
    if not own:
        raise RecipeError(f"{found.where}: the network has no parameters; is a list of layers no nn.ModuleList?")
    if lazy := [name for name, each in own.items() if is_lazy(each)]:
        raise RecipeError(f"{found.where}: {lazy[0]} is lazy; give its layer the number of inputs")
    if other := [name for name, each in own.items() if each.dtype != torch.float32]:
        kind = str(own[other[0]].dtype).removeprefix("torch.")
        raise RecipeError(
            f"{found.where}: {other[0]} is {kind}; leave weights in float32, --precision chooses the arithmetic"
        )
    if away := [name for name, each in own.items() if each.device.type != "cpu"]:
        raise RecipeError(
            f"{found.where}: {away[0]} is not on the CPU; leave out .to(...), --device chooses the device"
        )
    if strange := [name for name, each in model.state_dict().items() if not isinstance(each, Tensor)]:
        raise RecipeError(f"{found.where}: its state_dict holds {strange[0]}, which is no tensor and cannot be saved")


def _not_taken(found: Found, shape: Shape, fault: Exception) -> Exception:
    said, sized = str(failed(found, fault)), "x".join(map(str, shape))
    if isinstance(fault, RecipeError):
        return fault
    return RecipeError(f"{said} (on two {sized} images with values in [0, 1])")


def _logits(found: Found, logits: Any, num_classes: int) -> None:
    """Refuse what is not finite logits of two images."""
    where = found.where
    if not isinstance(logits, Tensor):
        fix = f"name its logits, as in --arch '{found.network._replace(pick='logits').asked()}'"
        if isinstance(logits, (tuple, list)):
            fix = fix.replace("#logits", "#0")
        raise RecipeError(f"{where}: the network returns {parts(logits)}, not logits; {fix}")
    if logits.shape != (2, num_classes):
        fix = "" if logits.ndim != 2 else "; it must take num_classes" if logits.shape[0] == 2 else ""
        raise RecipeError(
            f"{where}: the network returns {tuple(logits.shape)} for 2 images; logits of {num_classes} classes are "
            f"(2, {num_classes}){fix}"
        )
    if not logits.is_floating_point() or logits.dtype in (torch.float16, torch.bfloat16):
        kind = str(logits.dtype).removeprefix("torch.")
        raise RecipeError(f"{where}: the network returns {kind}; leave logits in float32")
    if not logits.isfinite().all():
        raise RecipeError(f"{where}: the network's logits are not finite on random images, before any training")
    if logits.min() >= 0 and torch.allclose(logits.sum(1), torch.ones(2).to(logits), atol=1e-4):
        raise RecipeError(f"{where}: the network returns probabilities; return logits, without softmax")
