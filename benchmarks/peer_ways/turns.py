"""Ways to do one thing, which take turns, and what came of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import statistics
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, NamedTuple

import torch

PACKAGES = {"torchattacks": "torchattacks", "art": "adversarial-robustness-toolbox", "pyautoattack": "pyautoattack"}
"""By module, what the registry calls the peers that are packages."""


class Outcome(NamedTuple):
    """One measurement. ``robust``: images that an attack left, where it is one."""

    seconds: float
    robust: int | None = None


Way = Callable[[], Outcome]


class Comparison(NamedTuple):
    """``ways``: by name how the same is done; ``made``: makes them, as models take room only when it is their turn.

    The first one is what the others are compared with. ``needs``: by way the module that it cannot do without.
    """

    name: str
    what: str
    made: Callable[[], Mapping[str, Way]]
    needs: Mapping[str, str] = {}


def missing(module: str) -> bool:
    """Whether a peer is not installed."""
    return importlib.util.find_spec(module) is None


def versions() -> dict[str, str]:
    """Of the peers that are installed."""
    found = {}
    for package in PACKAGES.values():
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def stepped(run: Callable[[], object]) -> Way:
    """A way of nothing but a training step, whose first call, which warms up, is not counted."""
    warm: list[object] = []

    def once() -> Outcome:
        if not warm:
            warm.append(run())
        started = perf_counter()
        run()
        return Outcome(perf_counter() - started)

    return once


def attacked(attack: Callable[[], torch.Tensor], model: torch.nn.Module, label: torch.Tensor) -> Way:
    """A way that makes perturbed images, with how many of them the model is still right on."""

    def once() -> Outcome:
        started = perf_counter()
        perturbed = attack()
        seconds = perf_counter() - started
        model.eval()
        with torch.no_grad():
            return Outcome(seconds, int((model(perturbed).argmax(1) == label).sum()))

    return once


def compared(comparison: Comparison, rounds: int) -> dict[str, Any]:
    """Seconds of each way, their median and the ratio of the first one's to it; ways that cannot run are named."""
    absent = {way: module for way, module in comparison.needs.items() if missing(module)}
    skipped = {way: f"{PACKAGES[module]} is not installed" for way, module in absent.items()}
    ways = {name: way for name, way in comparison.made().items() if name not in skipped}
    found: dict[str, list[Outcome]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    medians = {name: statistics.median(each.seconds for each in taken) for name, taken in found.items()}
    told: dict[str, Any] = {"name": comparison.name, "what": comparison.what, "skipped": skipped, "ways": {}}
    first = next(iter(medians.values()), 0.0)
    for name, taken in found.items():
        robust = sorted({each.robust for each in taken if each.robust is not None})
        told["ways"][name] = {
            "seconds": [float(f"{each.seconds:.4g}") for each in taken],
            "median": float(f"{medians[name]:.4g}"),
            "ratio": float(f"{first / medians[name]:.3g}"),
            **({"robust": robust} if robust else {}),
        }
    return told
