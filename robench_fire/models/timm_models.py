"""timm's models, built for images of any size where they can be."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from robench_fire.errors import RecipeError

Shape = tuple[int, int, int]
PATCHES = 4  # along a side, at least, where a model lets its patches be chosen
PIXELS = 4  # along a side of a patch, at most, but for large images


@contextmanager
def _quiet() -> Iterator[Any]:
    """timm, without what it and torch say to its developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm

        yield timm


def builder(name: str, shape: Shape) -> Callable[[Shape, int], nn.Module]:
    """The function (shape, number of classes) to timm's model ``name``.

    Raises:
        RecipeError: if timm has no such model, or it does not take images of ``shape``.
    """
    with _quiet() as timm:
        if not timm.is_model(name):
            near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=4, cutoff=0.4))
            raise RecipeError(f"unknown timm model {name!r}: near it are {near or 'none; see timm.list_models()'}")
    plain, _, tag = name.partition(".")
    if tag:
        raise RecipeError(f"timm/{name} names pretrained weights ({tag}), which are not used here; say timm/{plain}")
    chosen = settings(name, shape)
    return lambda shape, num_classes: _made(name, shape, num_classes, chosen)


@cache
def settings(name: str, shape: Shape) -> dict[str, int]:
    """What timm must be told, beside channels and classes, so that a model takes images of ``shape``.

    The size of the images where the model depends on it, and of its patches where that can be chosen: 4 pixels on
    32 x 32 and 28 x 28 images, 2 on 8 x 8. Found by trying a forward pass.

    Raises:
        RecipeError: if nothing helps, with what the model says.
    """
    side = shape[1]
    most = min(max(PIXELS, side // 8), max(side // PATCHES, 1))
    patch = max(size for size in range(1, most + 1) if side % size == 0)
    said = ""
    for chosen in ({"img_size": side, "patch_size": patch}, {"img_size": side}, {}):
        try:
            _forward(name, shape, chosen)
        except TypeError as fault:  # also: a setting that this model does not have
            said = said or str(fault)
        except Exception as fault:  # whatever a model raises on images that it does not take
            said = str(fault) or type(fault).__name__
        else:
            return chosen
    sized = "x".join(map(str, shape))
    raise RecipeError(f"timm/{name} does not take {sized} images ({said.splitlines()[0][:120]}); choose another --arch")


def _made(name: str, shape: Shape, num_classes: int, chosen: dict[str, int]) -> nn.Module:
    with _quiet() as timm:
        made: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=num_classes, in_chans=shape[0], **chosen
        )
    return made


def _forward(name: str, shape: Shape, chosen: dict[str, int]) -> None:
    """One forward pass, on the meta device where the model can be built there; torch's generators stay as they are."""
    try:
        with torch.device("meta"):
            model = _made(name, shape, 10, chosen)
    except (NotImplementedError, RuntimeError) as fault:
        if "meta" not in str(fault):
            raise
        with torch.random.fork_rng([]):
            model = _made(name, shape, 10, chosen)
    x = torch.zeros(2, *shape, device=next(model.parameters()).device)
    with torch.no_grad():
        logits = model.eval()(x)
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, 10):
        raise ValueError(f"it returns {tuple(getattr(logits, 'shape', ()))} for two images and ten classes")
