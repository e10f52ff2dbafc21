"""A function of the user's that returns images."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from robench_fire.data.own import arrays
from robench_fire.data.own.parts import Found
from robench_fire.data.own.sources import Source
from robench_fire.errors import OWN_FILE, DataError, in_a_line, unknown

EXPECTED = "a dict of x_train, y_train, x_test, y_test, or ((x_train, y_train), (x_test, y_test))"


def read(source: Source) -> Found:
    """What the function returns, called without arguments.

    Raises:
        DataError: if there is no such function, it fails, or returns something else.
    """
    module = _module(source)
    function = getattr(module, source.function, None)
    if not callable(function):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise DataError(f"{source.place}: {unknown('function', source.function, known)}")
    try:
        returned = function()
    except Exception as fault:
        raise DataError(f"{source.text} failed: {in_a_line(fault)}") from fault
    return arrays.found(source.text, _by_name(source, returned))


def _module(source: Source) -> ModuleType:
    path = source.path
    try:
        if path is None:
            return importlib.import_module(source.place)
        spec = importlib.util.spec_from_file_location(f"{OWN_FILE}data_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as fault:
        where = Path(source.place) if path is None else path
        raise DataError(f"{where} cannot be imported: {in_a_line(fault)}") from fault


def _by_name(source: Source, returned: Any) -> Mapping[str, Any]:
    if isinstance(returned, Mapping):
        return returned
    parts = list(returned) if isinstance(returned, (tuple, list)) else []
    if len(parts) in (2, 3) and all(isinstance(each, (tuple, list)) and len(each) == 2 for each in parts):
        names = ("train", "test") if len(parts) == 2 else ("train", "validation", "test")
        pairs = (zip(arrays.PARTED[name], each, strict=True) for name, each in zip(names, parts, strict=True))
        return {name: value for pair in pairs for name, value in pair}
    raise DataError(f"{source.text} returned {_kind(returned)}; expected {EXPECTED}")


def _kind(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)} ({', '.join(type(each).__name__ for each in value[:4])})"
    return "nothing" if value is None else f"a {type(value).__name__}"
