"""A mistake in a network of a user's own, found on two images before anything is spent."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robench_fire.errors import RecipeError
from robench_fire.models.own.network import Found, Shape, built, described, failed, found_of, parts


@cache
def check(arch: str, shape: Shape, num_classes: int, trained: bool = False) -> None:
    """Build a network of a plan's text and show it two images, on the CPU; torch's generator stays as it is.

    ``trained``: it is going to be trained, and not only evaluated.

    Raises:
        RecipeError: if it cannot be built, or makes anything but finite logits (N, classes) that follow the images; if
            its parameters are none, lazy, no float32 or, where it is trained, frozen; or if it is the same module each
            time.
    """
    found = found_of(arch)
    with torch.random.fork_rng([]), torch.enable_grad():
        torch.manual_seed(0)
        model = built(found, shape, num_classes)
        if built(found, shape, num_classes) is model:
            raise RecipeError(f"{found.where}: returns the same module each time; make a new one at each call")
        _state(found, model)
        x = torch.rand(2, *shape, requires_grad=True)
        logits = _shown(found, model.eval(), x, num_classes)
        (gradient,) = torch.autograd.grad(logits.sum(), x, allow_unused=True) if logits.requires_grad else (None,)
        if gradient is None or not gradient.isfinite().all():
            said = "its logits have no finite gradient by the images, so that nothing can attack it"
            raise RecipeError(f"{found.where}: {said}")
        if trained:
            _trainable(found, model)
            _shown(found, model.train(), x, num_classes)


def _trainable(found: Found, model: nn.Module) -> None:
    if frozen := [name for name, each in model.named_parameters() if not each.requires_grad]:
        raise RecipeError(
            f"{found.where}: {len(frozen)} of its parameters are frozen (requires_grad=False), {frozen[0]} first; all "
            "are trained here: leave that out"
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


def _shown(found: Found, model: nn.Module, x: Tensor, num_classes: int) -> Tensor:
    """Its logits of images, in the mode that it is in."""
    try:
        logits = model(x)
    except RecipeError:
        raise
    except Exception as fault:
        mode, sized = "train" if model.training else "eval", "x".join(map(str, x.shape[1:]))
        raise RecipeError(f"{failed(found, fault)} (on two {sized} images in [0, 1], in {mode} mode)") from fault
    _logits(found, logits, num_classes, " in train mode" if model.training else "")
    return logits  # type: ignore[no-any-return]


def _logits(found: Found, logits: Any, num_classes: int, mode: str) -> None:
    """Refuse what is not finite logits of two images."""
    where = f"{found.where}: the network{mode}"
    if not isinstance(logits, Tensor):
        pick = next(iter(parts(logits)), "logits")
        fix = f"name its logits, as in --arch '{found.network._replace(pick=pick).asked()}'"
        raise RecipeError(f"{where} returns {described(logits)}, not logits; {fix}")
    if logits.shape != (2, num_classes):
        fix = "; it must take num_classes" if logits.ndim == 2 and len(logits) == 2 else ""
        raise RecipeError(
            f"{where} returns {tuple(logits.shape)} for 2 images; logits of {num_classes} classes are "
            f"(2, {num_classes}){fix}"
        )
    if logits.dtype not in (torch.float32, torch.float64):
        kind = str(logits.dtype).removeprefix("torch.")
        raise RecipeError(f"{where} returns {kind}; leave logits in float32")
    if not logits.isfinite().all():
        raise RecipeError(f"{where} returns logits that are not finite on random images, before any training")
    if logits.min() >= 0 and torch.allclose(logits.sum(1), torch.ones(2).to(logits), atol=1e-4):
        raise RecipeError(f"{where} returns probabilities; return logits, without softmax")
