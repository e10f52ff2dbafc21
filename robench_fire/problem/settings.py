"""Dataclasses as JSON values and back to their leaves. Imports no torch, so that tables can compare plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from robench_fire.files import digest
from robench_fire.quantity import Quantity

OPTIONAL = {"optional": True}
"""Metadata of a field that is left out of plain values where it is None: a later word of a contract, which must not
change the fingerprint of the plans that do without it."""


def to_plain(value: Any) -> Any:
    """JSON values that say the kind of every dataclass, so that ``HardLabels()`` does not become ``{}``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        fields = {field.name: to_plain(item) for field, item in own if item is not None or field.metadata != OPTIONAL}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Quantity) else value


def plan_fingerprint(plain: Mapping[str, Any]) -> str:
    """12 hexadecimal digits of the SHA-256 of a plain plan's canonical JSON; they name its run folder."""
    return digest(plain)[:12]


def leaves(plain: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every leaf of ``to_plain``'s result; kinds with no field of their own appear as a leaf."""
    if not isinstance(plain, dict):
        yield path, plain
        return
    inner = [key for key in plain if key != "kind"]
    if path and (path.count(".") >= 1 or not inner):
        yield path, plain["kind"]
    for key in inner:
        yield from leaves(plain[key], f"{path}.{key}" if path else key)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """By path, the two values of every leaf that two plain plans do not share; None where one has none."""
    mine, its = dict(leaves(one)), dict(leaves(other))
    return {path: (mine.get(path), its.get(path)) for path in {**mine, **its} if mine.get(path) != its.get(path)}


def said_value(value: Any) -> str:
    """A setting's value in a sentence."""
    return (
        ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower() if value is None else str(value)
    )
