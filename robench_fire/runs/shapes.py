"""What the files of runs and boards must be made of, so that whoever reads one can rely on it. Imports no torch.

Only what is read is said; files of other versions may lack what is marked with "?", and hold more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from robench_fire.quantity import Quantity


class Leaf(NamedTuple):
    """``said``: what a value that ``fits`` is."""

    said: str
    fits: Callable[[Any], bool]


class Each(NamedTuple):
    """An object whose names are not known before, each of a shape."""

    shape: Any
    name: Leaf | None = None


Shape = Any
"""A Leaf, Each, a dict of shapes by key ("key?" may be missing), [shape] for a list, a tuple for any of several."""


def misfit(value: Any, shape: Shape, at: str = "it") -> str:
    """Where a JSON value is not of a shape, "recipe.epochs is 'x', not a whole number"; "" if it is."""
    found = _misfit(value, shape)
    return found(at) if found else ""


Wrong = Callable[[str], str] | None
"""What is wrong, said of where the value lies; nothing is said, and no path put together, of what is right."""


def _misfit(value: Any, shape: Shape) -> Wrong:
    kind = type(shape)
    if kind is Leaf:
        return None if shape.fits(value) else lambda at: f"{at} is {_short(value)}, not {shape.said}"
    if kind is dict:
        return _keys(value, shape)
    if kind is Each:
        return _names(value, shape)
    if kind is list:
        if not isinstance(value, list):
            return lambda at: f"{at} is {_short(value)}, not a list"
        for number, each in enumerate(value):
            if wrong := _misfit(each, shape[0]):
                return lambda at, wrong=wrong, number=number: wrong(f"{at}[{number}]")  # type: ignore[misc]
        return None
    found = []
    for each in shape:
        if not (wrong := _misfit(value, each)):
            return None
        found.append(wrong)
    return found[0]


def _keys(value: Any, shape: Mapping[str, Shape]) -> Wrong:
    if not isinstance(value, dict):
        return lambda at: f"{at} is {_short(value)}, not an object"
    for key, each in shape.items():
        name = key.removesuffix("?")
        if name in value:
            if wrong := _misfit(value[name], each):
                return _inside(wrong, name)
        elif name == key:
            return lambda at, name=name: f"it has no {_inner(at)}{name}"  # type: ignore[misc]
    return None


def _names(value: Any, shape: Each) -> Wrong:
    if not isinstance(value, dict):
        return lambda at: f"{at} is {_short(value)}, not an object"
    for name, each in value.items():
        if shape.name and (wrong := _misfit(name, shape.name)):
            return lambda at, wrong=wrong: wrong(f"a name in {at}")  # type: ignore[misc]
        if wrong := _misfit(each, shape.shape):
            return _inside(wrong, name[:40])
    return None


def _inside(wrong: Callable[[str], str], name: str) -> Wrong:
    return lambda at: wrong(f"{_inner(at)}{name}")


def _inner(at: str) -> str:
    return "" if at == "it" else f"{at}."


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _radius(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 40 and _radius_text(value)


@lru_cache(1024)
def _radius_text(text: str) -> bool:
    try:
        return Quantity(text).text == text and Quantity(text) >= 0
    except ValueError:
        return False


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


ANY = Leaf("anything", lambda value: True)
NULL = Leaf("null", lambda value: value is None)
TEXT = Leaf("a text", lambda value: isinstance(value, str))
FLAG = Leaf("true or false", lambda value: isinstance(value, bool))
NUMBER = Leaf("a number", _number)
PERCENT = Leaf("a percentage", lambda value: _number(value) and 0 <= value <= 100)
COUNT = Leaf("a whole number", lambda value: isinstance(value, int) and _number(value) and 0 <= value < 2**63)
IMAGES = Leaf("a number of images", lambda value: COUNT.fits(value) and value < 10**9)
RADIUS = Leaf("a radius like 8/255", _radius)
NAME = Leaf("a name that a file can have", _matches(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,100}"))
"""Of a part of a path: no folder above, and nothing that a terminal takes for more than a letter."""
WORD = Leaf("a word", _matches(r"[A-Za-z0-9_.-]{1,60}"))
ATTACK = Leaf("the name of an attack", _matches(r"[A-Za-z0-9_.-]{1,60}(@[0-9a-f]{1,64})?"))
"""An own one with the beginning of its code's SHA-256."""
SEED = Leaf("the number of a seed", _matches(r"\d{1,18}"))
HASH = Leaf("a SHA-256", _matches(r"[0-9a-f]{1,64}(\+[0-9a-f]{64})*"))
NORM = Leaf("Linf or L2", lambda value: value in ("Linf", "L2"))
PAIR = Leaf("two numbers", lambda value: isinstance(value, list) and len(value) == 2 and all(map(_number, value)))
VERDICT = {
    "verdict": Leaf("reliable, unreliable or unknown", lambda value: value in ("reliable", "unreliable", "unknown")),
    "reasons": [TEXT],
}  # fmt: skip

THREAT = {"kind": NORM, "eps": RADIUS}
FROM_FILE = {"source": Leaf("file or hidden", lambda value: value == "file")}
HIDDEN = {"source": Leaf("file or hidden", lambda value: value == "hidden"), "hidden": NUMBER}
WEIGHTS = {"of": TEXT, "seen?": TEXT}
SHAPE = Leaf("channels, height and width", lambda value: isinstance(value, list) and len(value) == 3
             and all(isinstance(each, int) and not isinstance(each, bool) and each > 0 for each in value))  # fmt: skip
DATA = {
    "name": NAME, "shape": SHAPE, "num_classes": COUNT, "class_names": [TEXT], "mean": [NUMBER], "std": [NUMBER],
    "train": COUNT, "validation": COUNT, "test": COUNT, "sha256": HASH, "resize": (COUNT, NULL),
}  # fmt: skip
RECIPE = {
    "arch": TEXT, "extra": (FROM_FILE, HIDDEN, NULL), "epochs": COUNT, "select": TEXT, "normalise": TEXT,
    "batch_size?": COUNT, "start?": (WEIGHTS, NULL), "teacher?": (WEIGHTS, NULL),
}  # fmt: skip
PLAN = {
    "name": NAME, "dataset": NAME, "profile": TEXT, "code": TEXT, "threat": THREAT, "claim": THREAT, "recipe": RECIPE,
    "defense?": Each(ANY), "data?": (DATA, NULL),
}  # fmt: skip

REPORTED = {"dataset": TEXT, "norm": TEXT, "arch": TEXT, "clean": NUMBER, "robust": NUMBER, "source": TEXT,
            "extra_data": FLAG, "eps": (RADIUS, Leaf("nothing", lambda value: value == ""))}  # fmt: skip
PAPER = {"key": NAME, "method": TEXT, "title": TEXT, "authors": TEXT, "venue": TEXT, "link": TEXT,
         "reported": [REPORTED]}  # fmt: skip
SESSIONS = [{
    "device?": (TEXT, NULL), "commit?": (TEXT, NULL), "command?": TEXT, "versions?": Each(ANY),
    "threads?": (COUNT, NULL), "processes?": COUNT,
}]  # fmt: skip
DEPARTURES = Each(Leaf("a pair", lambda value: isinstance(value, list) and len(value) == 2))
PROVENANCE = {
    "paper": PAPER, "architecture": TEXT, "usual_eps": RADIUS, "by_hand": Each(ANY), "departures?": DEPARTURES,
    "sessions": SESSIONS,
}  # fmt: skip
LABELLER = {"seconds": NUMBER, "accuracy?": NUMBER, "flops?": NUMBER}
COST = dict.fromkeys(("flops?", "energy_joules?", "images_per_second?", "mfu?", "peak_memory_bytes?"), (NUMBER, NULL))
TRAIN = {"weights_sha256": HASH, "seconds": NUMBER, "labeller?": LABELLER, "signs?": [TEXT], "extra_images?": COUNT,
         **COST}  # fmt: skip
SIZES = {"examples": IMAGES, "seed": COUNT, "batch_size": COUNT, "order?": WORD}
EVALUATION = {
    "attack": ATTACK, "norm": NORM, "eps": RADIUS, **SIZES, "clean": PERCENT, "robust": PERCENT, "weights_sha256": HASH,
    "name?": NAME, "arch?": TEXT, "dataset?": NAME, "data?": {"sha256": HASH}, "normalise?": TEXT, "seconds?": NUMBER,
    "after?": Each(PERCENT), "attack_seconds?": Each(NUMBER), "flags?": [TEXT], "machines?": [TEXT], "code?": TEXT,
    "version?": TEXT, "robust_interval?": PAIR, "reliability?": VERDICT, "images_missing?": [TEXT],
    "shard?": [COUNT], **dict.fromkeys(("images_sha256?", "masks_sha256?", "perturbed_sha256?", "log_sha256?"), TEXT),
}  # fmt: skip
CORRUPTED = {
    "source": Leaf("files or made", lambda value: value in ("files", "made")), "dataset": NAME, "examples": IMAGES,
    "seed": COUNT, "arch": TEXT, "normalise": TEXT, "weights_sha256": HASH, "images_sha256": TEXT, "clean": PERCENT,
    "machines": [TEXT], "corruptions": Each({"accuracy": [PERCENT], "masks": [TEXT], "images_sha256": [TEXT]}, WORD),
    "accuracy?": PERCENT, "error?": PERCENT, "kinds?": Each(PERCENT),
}  # fmt: skip
OF_ROW = {"source": TEXT, "examples": IMAGES, "seed": COUNT, "accuracy": Each(PERCENT, SEED),
          "of": Each(Each(PERCENT, SEED), WORD)}  # fmt: skip
UNITED = {"threats?": [{"norm": NORM, "eps": RADIUS, "attacks": [TEXT], "robust": Each(PERCENT, SEED)}],
          "robust?": Each(PERCENT, SEED), "masks?": Each(TEXT, SEED), "apart?": [TEXT]}  # fmt: skip
CURVE = Each(NUMBER)

PER_SEED = {"clean": PERCENT, "robust": PERCENT, "train_seconds": NUMBER}
MASKS = {"clean": TEXT, "robust": TEXT}
EVALUATOR = {"attack_version": TEXT, "machines?": [TEXT], "attacks?": [TEXT], "robust_intervals": Each((PAIR, NULL))}
ROW = {
    "paper": PAPER, "plan": PLAN, "fingerprint": WORD, "norm": NORM, "eps": RADIUS, "attack": WORD, "examples": IMAGES,
    "evaluation_seed": COUNT, "seeds": Each(PER_SEED, SEED), "unfinished": [COUNT], "pgd20": Each(NUMBER, SEED),
    "by_hand": Each(ANY), "departures?": DEPARTURES, "usual_eps": RADIUS, "sessions": Each(SESSIONS, SEED),
    "verdicts": Each(VERDICT, SEED), "weights_sha256": Each(HASH, SEED), "masks?": Each(MASKS, SEED),
    "attacks?": Each(Each(NUMBER, SEED)), "evaluator": EVALUATOR, "cost?": Each(COST, SEED),
    "signs?": Each([TEXT], SEED), "labeller?": Each(LABELLER, SEED), "evaluation_batch_size": COUNT,
    "evaluation_order?": TEXT,
    "at_training_radius?": Each(NUMBER, SEED), "corruptions?": OF_ROW, "union?": UNITED,
    "evaluation_seconds?": Each(NUMBER, SEED), "std?": Each((NUMBER, NULL)),
}  # fmt: skip
"""Of a board: what lies under the one key of ours."""
BOARD = dict.fromkeys(("link", "name", "authors", "dataset", "venue", "architecture", "eps", "clean_acc"), TEXT)
SUMMARY = {"mean": NUMBER, "std": (NUMBER, NULL), "n": COUNT, "values?": [NUMBER]}
PASSED = {"transfer": Each(Each(({"values?": [NUMBER]}, NULL))), "weights_sha256?": Each(Each(HASH))}
CROSSED = Each(Each((SUMMARY, NULL)))
TRANSFER = {"transfer": CROSSED, "alone": CROSSED, "norm": TEXT, "eps": TEXT, "examples": COUNT,
            "weights_sha256?": Each(Each(HASH))}  # fmt: skip
EMBEDDED = {"label": [COUNT], "clean": [PAIR], "perturbed": [PAIR]}
FEATURES = {"mean": Each(SUMMARY), "models": [{"name": TEXT, "embedded": EMBEDDED}], "embedding": TEXT, "norm": TEXT,
            "eps": TEXT}  # fmt: skip
OF = {"plan.json": PLAN, "provenance.json": PROVENANCE, "train.json": TRAIN, "labeller.json": LABELLER}
"""By the name of a run's file."""
