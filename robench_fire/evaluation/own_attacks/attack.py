"""An attack of a user's own: a function (model, x, y, eps) -> perturbed images, of a file, a module or as it is."""

from __future__ import annotations

import functools
import hashlib
import inspect
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench_fire.errors import RecipeError, unknown
from robench_fire.models.own import code as codes
from robench_fire.models.own.network import line_of
from robench_fire.models.own.text import Written, read

Function = Callable[[Any, Any, Any, float], Any]
"""From model, images (N, C, H, W), labels (N,) and radius to perturbed images."""
FORM = "FILE.py:FUNCTION or package.module:FUNCTION"


@dataclass(frozen=True)
class OwnAttack:
    """An attack, its ``name`` in the names of files, what it is ``shown`` as, and the SHA-256 of its code.

    ``where``: its line, and ``files``: whose lines are its own, for messages.
    """

    name: str
    shown: str
    sha256: str
    where: str
    files: tuple[str, ...]
    function: Function


@dataclass(frozen=True)
class _Named:
    """A function by its name and its code's hash, so that another process finds the same one."""

    written: Written

    def __call__(self, model: Any, x: Any, y: Any, eps: float) -> Any:
        return self.found()(model, x, y, eps)

    def found(self) -> Function:
        """The function; its module is executed once in each process.

        Raises:
            RecipeError: if the code has changed, or has no such function.
        """
        module = codes.loaded(self.written)
        if module is None:
            code = _code(self.written.place)
            if code.digest() != self.written.digest:
                raise RecipeError(f"{code.path} has changed since this command began; run it again for the new one")
            module = codes.imported(self.written, code)
        function = getattr(module, self.written.name, None)
        if not callable(function):
            own = [name for name, each in vars(module).items()
                   if inspect.isfunction(each) and each.__module__ == module.__name__]  # fmt: skip
            raise RecipeError(f"--attack {self.written.place}: {unknown('function', self.written.name, own)}")
        return function  # type: ignore[no-any-return]


def _code(place: str) -> codes.Code:
    return codes.code_at(place, "--attack", "an attack")


def named(text: str) -> OwnAttack:
    """The attack that a user names, ``./attack.py:name`` or ``package.module:name``; its code is executed.

    Raises:
        RecipeError: if there is none, it cannot be imported, or takes other arguments.
    """
    asked = read(text)
    if asked is None or asked.arguments or asked.pick or asked.digest:
        raise RecipeError(f"--attack {text}: an attack of your own is {FORM}, without arguments")
    code = _code(asked.place)
    place = str(code.path) if asked.is_file else asked.place
    written = asked._replace(place=place, digest=code.digest())
    function = _Named(written).found()
    where = line_of(asked, function)
    _check(where, function)
    stem = code.path.stem if asked.is_file else asked.place
    short = asked._replace(place=code.path.name) if asked.is_file else asked
    return OwnAttack(
        f"{_plain(stem)}-{_plain(asked.name)}@{written.digest}", str(short), code.sha256(), where,
        tuple(map(str, code.files.values())), _Named(written),
    )  # fmt: skip


def given(function: Function) -> OwnAttack:
    """The attack that is a function of the caller's.

    Raises:
        RecipeError: if it takes other arguments.
    """
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = _plain(getattr(inner, "__name__", type(inner).__name__)) or "attack"
    code = getattr(inspect.unwrap(inner), "__code__", None)
    where = f"{Path(code.co_filename).name}:{code.co_firstlineno}, {name}" if code else name
    _check(where, function)
    digest = hashlib.sha256(_text(function, set()).encode()).hexdigest()
    return OwnAttack(name, name, digest, where, (code.co_filename,) if code else (), function)


def _check(where: str, function: Function) -> None:
    """Refuse what cannot be called as an attack."""
    if inspect.isclass(function):
        raise RecipeError(f"{where}: is a class; an attack is a function (model, x, y, eps) (docs/own-attack.md)")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of what is not written in Python, nothing is known
        return
    try:
        signature.bind(None, None, None, None)
    except TypeError:
        raise RecipeError(f"{where}: takes {signature}; an attack takes (model, x, y, eps)") from None


def _plain(text: str) -> str:
    """A name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")


def _text(value: Any, seen: set[int]) -> str:
    """What a function does: its source, its defaults and what it closes over; see _said for other values."""
    if id(value) in seen:
        return ""
    seen.add(id(value))
    if isinstance(value, functools.partial):
        parts = [_text(each, seen) for each in (value.func, *value.args, *value.keywords.values())]
        return "\n".join([*value.keywords, *parts])
    if not inspect.isfunction(value):
        return _said(value)
    try:
        own = inspect.getsource(value)
    except (OSError, TypeError):
        own = value.__code__.co_code.hex()
    cells = [_text(each, seen) for each in inspect.getclosurevars(value).nonlocals.values()]
    return "\n".join([own, _said(value.__defaults__), _said(value.__kwdefaults__), *cells])


def _said(value: Any) -> str:
    """A value's bytes, weights of networks too; of what cannot be written, what it says of itself."""
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except Exception:  # whatever an object raises
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
