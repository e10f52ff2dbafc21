"""Reading a state dict into an architecture, without executing anything in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from robench_fire.errors import DataError

_PREFIXES = ("module.", "model.")


def load(path: Path, build: Callable[[], nn.Module], device: torch.device) -> nn.Module:
    """The model ``build`` makes, in eval mode on ``device``, with the weights in ``path``.

    safetensors, or a torch file read with ``weights_only``; a nested ``state_dict``, DataParallel prefixes and the
    unused ``sub_block1`` of the TRADES family are accepted.

    Raises:
        DataError: if the file is missing, unreadable, or does not fit the architecture.
    """
    model = build()
    weights = _stripped(_read(path))
    expected = model.state_dict()
    extra = {name for name in weights if name not in expected and not name.startswith("sub_block1.")}
    missing = set(expected) - set(weights)
    misfits = [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    if extra or missing or misfits:
        first = misfits[:1] or [f"{len(missing)} tensors are missing and {len(extra)} unknown"]
        raise DataError(f"{path} does not fit the architecture: {first[0]}; check --arch and --dataset")
    model.load_state_dict({name: weights[name] for name in expected})
    return model.to(device).eval()


def refuse_html(path: Path) -> None:
    """File hosts answer with a page where a file was asked for.

    Raises:
        DataError: if ``path`` holds one.
    """
    with open(path, "rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        raise DataError(f"{path} is an HTML page saved under this name; download the file itself again")


def _read(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint; give a run folder that `robench ls runs` lists, or a file")
    refuse_html(path)
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # whatever the readers raise on a broken file, it is unreadable
        hint = "it must hold tensors only: save model.state_dict(), best as .safetensors"
        raise DataError(f"{path} cannot be read safely ({type(fault).__name__}); {hint}") from None
    return loaded if isinstance(loaded, dict) else {}


def _stripped(loaded: dict[Any, Any]) -> dict[str, Tensor]:
    if isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    weights = {}
    for name, value in loaded.items():
        if not isinstance(name, str):
            continue
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        if isinstance(value, Tensor):
            weights[name] = value
    return weights
