"""What a shell offers for a name that has begun."""

from __future__ import annotations

from collections.abc import Iterable


def _begins(incomplete: str, choices: Iterable[str]) -> list[str]:
    return [name for name in choices if name.startswith(incomplete)]


def defenses(incomplete: str) -> list[str]:
    """Of defenses."""
    from robench_fire.problem import registry

    return _begins(incomplete, registry.names("defenses"))


def datasets(incomplete: str) -> list[str]:
    """Of data sets."""
    from robench_fire.problem import registry

    return _begins(incomplete, registry.names("datasets"))


def archs(incomplete: str) -> list[str]:
    """Of architectures."""
    from robench_fire.models.names import ARCHS

    return _begins(incomplete, filter(str.islower, ARCHS))  # others are patterns
