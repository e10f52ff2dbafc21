"""How a network of a user's own is written: ``net.py@1a2b3c4d5e6f:build(width=32)#logits``. Imports no torch."""

from __future__ import annotations

import ast
import re
from typing import Any, NamedTuple

from robench_fire.errors import RecipeError

_FORM = re.compile(
    r"(?P<place>.+\.py|[A-Za-z_]\w*(?:\.\w+)*)(?:@(?P<digest>[0-9a-f]{12}))?"
    r":(?P<name>[A-Za-z_]\w*)(?:\((?P<arguments>.*)\))?(?:#(?P<pick>\w+))?"
)
NOT_MODULES = ("timm", "rb")
"""What stands before a colon in other ways of naming a model."""


class Written(NamedTuple):
    """A network as it is written.

    ``place``: a .py file, or a module's dotted name. ``digest``: the first 12 digits of its code's SHA-256, "" where
    it is not said. ``name``: a function or class in it. ``arguments``: those that the user sets. ``pick``: which part
    of what the network returns its logits are, an attribute, a key or a number; "" for the whole.
    """

    place: str
    digest: str
    name: str
    arguments: tuple[tuple[str, Any], ...] = ()
    pick: str = ""

    def __str__(self) -> str:
        """As a plan has it."""
        at = f"@{self.digest}" if self.digest else ""
        return f"{self.place}{at}:{self.call}" + (f"#{self.pick}" if self.pick else "")

    @property
    def call(self) -> str:
        """As a table calls it: ``build(width=32)``, or ``build`` without arguments."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments)
        return f"{self.name}({given})" if given else self.name

    @property
    def is_file(self) -> bool:
        return self.place.endswith(".py")

    def asked(self) -> str:
        """As a user says it, whatever the code is."""
        place = f"./{self.place}" if self.is_file and "/" not in self.place else self.place
        return str(self._replace(place=place, digest=""))


def read(arch: str) -> Written | None:
    """The network of a user's own that ``arch`` names; None where it names another kind.

    Raises:
        RecipeError: for arguments that are not name=value.
    """
    match = _FORM.fullmatch(arch.strip())
    if match is None or match["place"] in NOT_MODULES:
        return None
    return Written(
        match["place"], match["digest"] or "", match["name"], _arguments(match["arguments"] or "", arch),
        match["pick"] or "",
    )  # fmt: skip


def _arguments(text: str, arch: str) -> tuple[tuple[str, Any], ...]:
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if (
            not isinstance(call, ast.Call)
            or not isinstance(call.func, ast.Name)
            or call.args
            or any(each.arg is None for each in call.keywords)
        ):
            raise ValueError
        return tuple((str(each.arg), ast.literal_eval(each.value)) for each in call.keywords)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise RecipeError(f"--arch {arch}: expected arguments by name, like :build(width=32, act='relu')") from None
