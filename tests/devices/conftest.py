"""Number formats on a processor that has them all."""

from __future__ import annotations

import pytest

from robench_fire.devices import precision


@pytest.fixture
def any_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with instructions for everything: emulated, slowly."""
    every = {"cpu": ("fp32", "bf16", "fp16"), "cuda": ("fp32", "tf32", "bf16", "fp16")}
    monkeypatch.setattr(precision, "supported", lambda device: every[device.type])
