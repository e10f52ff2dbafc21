"""JSON as others wrote it: what is believed of a text before anything else looks at it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any

from robench_fire.errors import CONTROL

DIGITS, DEEPEST = 30, 64
"""Of an integer in a file, at most, as FLOPs have fewer; of lists in lists."""


def from_json(text: str) -> Any:
    """The value of a JSON text, of nothing but JSON: no NaN, no number that is too large, no key twice.

    Texts in it hold nothing that a terminal acts on.

    Raises:
        ValueError: for anything else, also what is nested too deeply to be read.
    """
    found = _plainly(text)
    return _carefully(text) if found is None else found


ESCAPED = re.compile(r'\\(?<!\\\\)(?:\\\\)*[^"\\/]')
"""An escape that may stand for anything; none of two backslashes, as boards have in front of formulas."""
KEY = re.compile(r'"\s*:')
"""The end of a key; also of a text that begins with a colon, or has one behind a quotation mark."""


def _plainly(text: str) -> Any:
    """The value of a text that nothing is wrong with at first sight; None where _carefully has to look.

    Boards have thousands of files, and looking at every text and number of them takes longer than reading them.
    """
    if ESCAPED.search(text) or ("\x7f" in text if text.isascii() else CONTROL.search(text)):
        return None
    try:
        value = json.loads(text, parse_constant=_no_number, parse_int=_int)
    except (ValueError, RecursionError):
        return None
    keys, level = 0, list[Any]([[value]])
    for _ in range(DEEPEST):
        parts: list[Any] = []
        for each in level:
            if math.inf in each or -math.inf in each:
                return None
            parts += [part for part in each if type(part) is dict or type(part) is list]
        keys += sum(len(part) for part in parts if type(part) is dict)
        level = [part.values() if type(part) is dict else part for part in parts]
    return value if not level and keys == len(KEY.findall(text)) else None  # else too deep, or a key is there twice


def _carefully(text: str) -> Any:
    try:
        value = json.loads(
            text, parse_constant=_no_number, parse_float=_float, parse_int=_int, object_pairs_hook=_object
        )
        if "\\ud" in text.lower():  # half of a pair, which no text can be written with
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    level = [value]
    for _ in range(DEEPEST):
        said = (each for each in level if isinstance(each, str))
        if found := next(filter(None, map(CONTROL.search, said)), None):
            raise ValueError(f"it holds {found[0]!a}, which a terminal would act on")
        level = [*chain.from_iterable(map(_parts, level))]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    return value


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list) else ()


def _no_number(text: str) -> Any:
    raise ValueError(f"it holds {text}, which is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"it holds {text[:20]}, which is too large a number")
    return value


def _int(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"it holds {text[:20]}, which is too large a number")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"it has the key {twice[:40]!r} twice")
    return made
