"""Calling an attack of a user's own: seeded, with a model that it may not change, and images that it must return."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robench_fire import stopping
from robench_fire.errors import RecipeError, RobenchError
from robench_fire.evaluation.own_attacks.attack import OwnAttack


def perturbed(attack: OwnAttack, model: nn.Module, x: Tensor, label: Tensor, eps: float, seed: int) -> Tensor:
    """What an attack makes of images (N, C, H, W) and labels (N,): as many floats, whatever their values are.

    The generators of torch, numpy and Python are at the beginning of ``seed`` in the call, and back where they were
    afterwards. ``model`` is handed out as it is, in eval mode and frozen.

    Raises:
        RecipeError: if the attack fails, returns anything else, or changes the model or the labels; the model is put
            back.
    """
    asked = label.clone()
    with _watched(model) as changes, _seeded(seed, x.device), torch.enable_grad():
        try:
            found = attack.function(model, x.clone(), asked, eps)
        except Exception as fault:
            raise _failed(attack, fault) from fault
    if not torch.equal(asked, label):
        changes.append("changes the labels that it is given; work on y.clone()")
    if changes:
        raise RecipeError(f"{attack.where}: {changes[0]}; nothing of this batch counts")
    return _images(attack, found, x)


def _failed(attack: OwnAttack, fault: Exception) -> RobenchError:
    """What is said of an error in the attack: where its own code was, and what it was."""
    if isinstance(fault, (RobenchError, torch.OutOfMemoryError)):
        raise fault
    own = [line for line in traceback.extract_tb(fault.__traceback__) if line.filename in attack.files]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}, {own[-1].name}" if own else attack.where
    lines = str(fault).strip().splitlines()
    return RecipeError(f"{where}: {': '.join([type(fault).__name__, *lines[:1]])}")


def _images(attack: OwnAttack, found: Any, x: Tensor) -> Tensor:
    """The images that were returned, as floats where the given ones are."""
    if isinstance(found, (tuple, list)):
        kinds = ", ".join(type(each).__name__ for each in found[:4])
        said = f"a {type(found).__name__} of {len(found)} ({kinds}); return the perturbed images alone"
        raise RecipeError(f"{attack.where}: returns {said}")
    if not isinstance(found, Tensor):
        raise RecipeError(
            f"{attack.where}: returns {'nothing' if found is None else f'a {type(found).__name__}'}; return a "
            "torch tensor of perturbed images"
        )
    if found.shape != x.shape:
        raise RecipeError(
            f"{attack.where}: returns {tuple(found.shape)} for images {tuple(x.shape)}; return one perturbed image "
            "for each"
        )
    if not found.is_floating_point():
        kind = str(found.dtype).removeprefix("torch.")
        raise RecipeError(f"{attack.where}: returns {kind}; return floats in [0, 1]")
    return found.detach().to(x)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """All global generators at the beginning of a seed; then back where they were."""
    cuda = [device] if device.type == "cuda" else []
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(cuda):
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """What the body changes of a model, known when it is left; then it is put back. Ctrl-C is heard between calls."""
    modes = [(each, each.training) for each in model.modules()]
    hooks = [(each, dict(each._forward_pre_hooks), dict(each._forward_hooks)) for each in model.modules()]
    flags = {name: (each.requires_grad, each.grad) for name, each in model.named_parameters()}
    values = {name: (each, each.detach().clone()) for name, each in _tensors(model)}
    listening = model.register_forward_pre_hook(lambda *_: stopping.check())
    said: list[str] = []
    try:
        yield said
    finally:
        listening.remove()
        said += _changes(model, modes, hooks, flags, {name: kept for name, (_, kept) in values.items()})
        for module, mode in modes:
            module.training = mode
        for module, before, after in hooks:
            _put_back(module._forward_pre_hooks, before)
            _put_back(module._forward_hooks, after)
        for name, (own, kept) in values.items():
            if name in flags:
                wanted, own.grad = flags[name]
                own.requires_grad_(wanted)
            with torch.no_grad():
                own.copy_(kept)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())


def _same(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device) and torch.equal(one, other)


def _put_back(hooks: Any, before: dict[int, Any]) -> None:
    hooks.clear()
    hooks.update(before)


def _changes(model: nn.Module, modes: Any, hooks: Any, flags: dict[str, Any], kept: dict[str, Tensor]) -> list[str]:
    """What is another than it was, in words."""
    now = dict(_tensors(model))
    if any(module.training != mode for module, mode in modes):
        return ["changes the model's mode; leave it in eval mode"]
    names = {**kept, **now}
    if moved := [name for name in names if not (name in kept and name in now and _same(kept[name], now[name]))]:
        return [f"changes the model's weights ({moved[0]}, of {len(moved)}); work on copy.deepcopy(model)"]
    if open_ := [name for name, (flag, grad) in flags.items()
                 if now[name].requires_grad != flag or now[name].grad is not grad]:  # fmt: skip
        return [f"leaves gradients on for the model's weights ({open_[0]}, of {len(open_)}); only x needs them"]
    if any(dict(module._forward_pre_hooks) != one or dict(module._forward_hooks) != two for module, one, two in hooks):
        return ["leaves a hook on the model; remove it before it returns"]
    return []
