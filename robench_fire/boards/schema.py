"""Whether a JSON is a RobustBench model_info file: checked against model_info.schema.json."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

NAME = re.compile(r"[A-Z][A-Za-z-]*(?:19|20)\d\d[A-Z0-9][\w-]*")
"""RobustBench's names: first author, year, first word of the title, and what tells several models apart."""


def problems(info: Any, name: str) -> list[str]:
    """What is wrong with the model_info ``info`` of the entry ``name``; empty if nothing is."""
    found = [
        _said(fault)
        for fault in sorted(_validator().iter_errors(info), key=lambda fault: list(map(str, fault.absolute_path)))
    ]
    if not NAME.fullmatch(name):
        found.append(f"{name} is not a name like Picot2021Adversarial (author, year, first word of the title)")
    return found


def unreadable(info: Any) -> list[str]:
    """What is wrong with an entry of RobustBench's own, empty fields left out: its older files lack some."""
    return [_said(fault) for fault in _validator(OFTEN_MISSING).iter_errors(info)]


OFTEN_MISSING = ("authors", "architecture", "number_forward_passes", "reported")
"""Fields that a submission needs, and that not everything published has."""


def _said(fault: Any) -> str:
    return f"{'.'.join(map(str, fault.absolute_path)) or 'the file'}: {_end(fault.message)}"


def _end(message: str) -> str:
    """What is wrong stands behind the value that it is about, which may be long."""
    return message if len(message) <= 200 else f"... {message[-160:]}"


@cache
def _validator(may_lack: tuple[str, ...] = ()) -> Any:
    """For a submission; or, with what an entry may lack, for one that may have other fields too."""
    from jsonschema import Draft202012Validator  # here, because it takes a moment to import

    text = resources.files("robench_fire.boards").joinpath("model_info.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    if may_lack:
        needed = [name for name in schema["required"] if name not in may_lack]
        schema |= {"required": needed, "additionalProperties": True}
    return Draft202012Validator(schema)
