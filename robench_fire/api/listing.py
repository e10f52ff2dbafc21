"""What there is: methods, data sets, architectures. Loads no torch."""

from __future__ import annotations

from robench_fire.models.names import ARCHS
from robench_fire.problem import registry


def list_defenses() -> dict[str, str]:
    """Every installed method that ``train`` takes, by name, with a line that says what it is."""
    return {name: registry.summary("defenses", name) for name in registry.names("defenses")}


def list_datasets() -> dict[str, str]:
    """Every data set that ``train`` takes, by name, with a line that says what it is."""
    return {name: registry.summary("datasets", name) for name in registry.names("datasets")}


def list_architectures() -> dict[str, str]:
    """Every architecture that ``train`` and ``load`` take, by name, with a line that says what it is."""
    return dict(ARCHS)
