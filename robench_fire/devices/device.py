"""Which device to compute on."""

from __future__ import annotations

import re

import torch

from robench_fire.errors import UsageError


def resolve(asked: str) -> torch.device:
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: for anything else, or a GPU that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    if asked == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", asked)
    if match is None:
        raise UsageError(f"--device {asked}: choose auto, cpu, cuda or cuda:N")
    if int(match[1] or 0) >= count:
        raise UsageError(
            f"--device {asked}: no such GPU among {count} usable here; use --device cpu, or ask `robench doctor`"
        )
    return torch.device("cuda", int(match[1] or 0))


def use(device: torch.device) -> None:
    """Make a GPU the current one, as events, streams and memory statistics refer to that; "cuda" means the first."""
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
