"""The device that a test computes on: the CPU, and a GPU where there is one (the fixture ``device``)."""

from __future__ import annotations

import pytest
import torch

CPU = torch.device("cpu")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
_current = [CPU]


def here() -> torch.device:
    """The current test's."""
    return _current[-1]


def begin(name: str) -> torch.device:
    """Compute on a device from now on."""
    _current.append(torch.device(name, 0) if name == "cuda" else CPU)
    return here()


def end() -> None:
    """Compute where it was done before."""
    _current.pop()


def parametrised(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``device`` is there once for each device; without a GPU its name says nothing of it."""
    if "device" in metafunc.fixturenames and len(DEVICES) > 1:
        metafunc.parametrize("device", DEVICES, indirect=True)


def marked(item: pytest.Item) -> None:
    """What computes on a GPU is a ``gpu`` test; without one what computes on the CPU is, as a rehearsal."""
    if "device" in getattr(item, "fixturenames", ()):
        call = getattr(item, "callspec", None)
        if DEVICES[-1] == (call.params if call else {}).get("device", "cpu"):
            item.add_marker("gpu")
