"""The one place that knows how to import today's robustbench and what it misses.

robustbench 1.1.1 imports ``pkg_resources``, which current setuptools no longer has, and ``autoattack``, which is not on
the registry (it declares pyautoattack, whose module has another name, signature and return type). Both are handed to it
here, in the shape it expects, only where the real ones are absent.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn


class AutoAttack:
    """The ``autoattack.AutoAttack`` that robustbench calls, on top of pyautoattack."""

    def __init__(
        self,
        model: nn.Module,
        norm: str = "Linf",
        eps: float = 0.3,
        seed: int | None = None,
        version: str = "standard",
        device: str = "cpu",
        log_path: str | None = None,
        verbose: bool = True,
    ) -> None:
        from pyautoattack import AutoAttack as Upstream

        self._upstream = Upstream(model, norm=norm, eps=eps, seed=seed, version=version, device=device)

    def run_standard_evaluation(self, x: Tensor, y: Tensor, bs: int = 250, state_path: Path | None = None) -> Tensor:
        """Perturbed images (N, C, H, W) only, as the original returns them."""
        adversarial: Tensor
        tracing = sys.gettrace()
        try:
            adversarial, _ = self._upstream.run_standard_evaluation(x, y, batch_size=bs, state_path=state_path)
        finally:
            sys.settrace(tracing)  # its check for dynamic models takes it from a debugger, or from coverage
        return adversarial


def _resource_filename(package: str, name: str) -> str:
    """``pkg_resources.resource_filename`` for a module: a path beside it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / name)


def _absent(name: str) -> bool:
    return name not in sys.modules and importlib.util.find_spec(name) is None


def _module(name: str, **contents: Any) -> types.ModuleType:
    made = types.ModuleType(name, f"stand-in by {__name__}")
    vars(made).update(contents)
    return made


@cache
def load() -> types.ModuleType:
    """The installed ``robustbench``, importable whatever setuptools and autoattack are there."""
    lent: dict[str, types.ModuleType] = {}
    if _absent("pkg_resources"):
        lent["pkg_resources"] = _module("pkg_resources", resource_filename=_resource_filename)
    if _absent("autoattack"):
        from pyautoattack.state import EvaluationState

        lent["autoattack"] = _module("autoattack", AutoAttack=AutoAttack)
        lent["autoattack.state"] = _module("autoattack.state", EvaluationState=EvaluationState)
    sys.modules.update(lent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit deprecations inside robustbench's own imports
            return importlib.import_module("robustbench")
    finally:
        for name in lent:  # robustbench holds its own references; nobody else should find a stand-in
            del sys.modules[name]


def architectures() -> Any:
    """``robustbench.model_zoo.architectures`` with its ``resnet`` and ``wide_resnet`` modules."""
    load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, as above
        for name in ("resnet", "wide_resnet"):
            importlib.import_module(f"robustbench.model_zoo.architectures.{name}")
    return sys.modules["robustbench.model_zoo.architectures"]
