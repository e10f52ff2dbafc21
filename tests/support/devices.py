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
    """A test that asks for ``device`` is there once for each device that is; without a GPU its name says nothing of it.

    It is marked ``gpu`` where it computes on one, and where there is none, so that `pytest -m gpu` can be rehearsed.
    """
    if "device" not in metafunc.fixturenames:
        return
    if DEVICES == ["cpu"]:
        metafunc.definition.add_marker("gpu")
    else:
        marked = [pytest.param(name, marks=[pytest.mark.gpu] * (name != "cpu")) for name in DEVICES]
        metafunc.parametrize("device", marked, indirect=True)
