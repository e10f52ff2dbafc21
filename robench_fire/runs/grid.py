"""The grid of a sweep: every combination of the values of some settings, for every defense."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import reduce
from itertools import combinations, product
from typing import Any, NamedTuple

from robench_fire.errors import RecipeError, UsageError
from robench_fire.models.own import network
from robench_fire.problem.plan import Plan, no_setting
from robench_fire.runs.compose import OVER, Composed, Request, compose

SWEPT = ("defense", "threat", "recipe")  # what decides a training; a claim decides how it is read
NAMED = {"recipe.epochs": "epochs", "recipe.arch": "arch", "threat.eps": "eps"}  # settings with an option of their own


class Axis(NamedTuple):
    """A setting and the texts of its values, in the order in which they are swept."""

    path: str
    texts: tuple[str, ...]


class GridPoint(NamedTuple):
    """One setting of the grid. ``values``: by path, those of its plan that are swept, an axis each."""

    request: Request
    composed: Composed
    values: dict[str, Any]


def axes(options: Sequence[str]) -> list[Axis]:
    """What "PATH=V1,V2,..." says, of each option.

    Raises:
        UsageError: for another text, or a path or a value that is there twice.
    """
    found: list[Axis] = []
    for text in options:
        path, _, listed = text.partition("=")
        texts = tuple(part.strip() for part in listed.split(","))
        if not path.strip() or not all(texts):
            raise UsageError(f"--over {text}: expected PATH=V1,V2,..., like defense.lam=1,2,4")
        found.append(Axis(path.strip(), texts))
    if not found:
        raise UsageError("nothing to sweep: say --over PATH=V1,V2,..., like --over defense.lam=1,2,4")
    return found


def grid(requests: Sequence[Request], along: Sequence[Axis]) -> list[GridPoint]:
    """The points of every request, the last axis moving fastest.

    Raises:
        UsageError: for a setting that a defense does not have, that cannot be swept, or that is said twice.
        RecipeError: for a value or a combination that cannot be run.
    """
    if not requests:
        raise UsageError("no defense to sweep: name some, like fire,trades")
    composed = [compose(request) for request in requests]
    names = Counter(each.plan.name for each in composed)
    if twice := [name for name in names if names[name] > 1]:
        raise UsageError(f"{twice[0]} is there twice; leave one out, or rename its file")
    owned = paths([each.plan for each in composed], along)
    points = []
    for request, base, own in zip(requests, composed, owned, strict=True):
        _said_once(request, base.plan, own)
        for path in own:
            _sweepable(path, _value(base.plan, path))
        mine = [_point(request, own, texts) for texts in product(*(axis.texts for axis in along))]
        for path, axis in zip(own, along, strict=True):
            _told_apart(path, axis, mine)
        points += mine
    return points


def paths(plans: Sequence[Plan], along: Sequence[Axis]) -> list[list[str]]:
    """For each plan, the setting that it has for each axis: of that path, or its weight where the axis is a weight.

    Raises:
        UsageError: naming the defenses that have none, and what they have.
    """
    found: list[list[str]] = [[] for _ in plans]
    for path, _ in along:
        if path.startswith("claim."):
            raise UsageError(f"--over {path}: no training depends on it; train once, then `robench eval RUNS --eps`")
        has = [_has(plan, path) for plan in plans]
        if not any(has):
            raise UsageError(f"--over: {no_setting(plans[0], path)}")
        alike = any(weight(plan) == path for plan in plans)
        own = [path if there else weight(plan) if alike else "" for plan, there in zip(plans, has, strict=True)]
        if lacking := [plan for plan, each in zip(plans, own, strict=True) if not each]:
            said = "; ".join(f"{plan.name} has {_fields(plan, path)}" for plan in lacking)
            raise UsageError(f"--over {path}: not every defense has it: {said}. Sweep those apart, or leave them out")
        for listed, each in zip(found, own, strict=True):
            listed.append(each)
    return found


def weight(plan: Plan) -> str:
    """The one number of a defense's loss, as TRADES' beta and FIRE's lam: its path, "" where it has none or several."""
    values = {each.name: getattr(plan.defense, each.name) for each in fields(plan.defense)}
    own = [name for name, value in values.items() if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return f"defense.{own[0]}" if len(own) == 1 else ""


def renamed(points: Sequence[GridPoint], along: Sequence[Axis]) -> list[str]:
    """A sentence for each defense that calls an axis by another name."""
    said = [
        f"{point.composed.paper.method} has no {axis.path}: {own}, the one number of its loss, is swept in its place"
        for point in points for axis, own in zip(along, point.values, strict=True) if own != axis.path
    ]  # fmt: skip
    return list(dict.fromkeys(said))


def _has(plan: Plan, path: str) -> bool:
    head, *keys = path.split(".")
    if path.startswith(network.PREFIX):
        return path.removeprefix(network.PREFIX) in network.arguments(plan.recipe.arch)
    if head not in SWEPT or not keys:
        return False
    owner: Any = getattr(plan, head)
    for key in keys:
        if not is_dataclass(owner) or key not in [each.name for each in fields(owner)]:
            return False
        owner = getattr(owner, key)
    return True


def _value(plan: Plan, path: str) -> Any:
    if path.startswith(network.PREFIX):
        return network.arguments(plan.recipe.arch)[path.removeprefix(network.PREFIX)]
    return reduce(getattr, path.split("."), plan)


def _fields(plan: Plan, path: str) -> str:
    """What a plan has beside a path that it has not."""
    head = path.partition(".")[0]
    owner: Any = getattr(plan, head)
    own = [f"{head}.{each.name}" for each in fields(owner) if not is_dataclass(getattr(owner, each.name))]
    shown = [each for each in own if each not in ("defense.weights", "defense.targets")]
    return ", ".join(shown) or "no number of its own"


def _said_once(request: Request, plan: Plan, own: Sequence[str]) -> None:
    for path in own:
        options = [f"{flag} {other}={text}" for flag, other, text in request.settings if other == path]
        if (name := NAMED.get(path)) and getattr(request, name) and not (name == "eps" and request.data):
            options.append(f"--{name} {getattr(request, name)}")
        if options:
            raise UsageError(f"{options[0]} and --over {path} contradict each other; leave one out")
    if len(set(own)) < len(own):
        raise UsageError(f"two --over are the same setting of {plan.name}, {' and '.join(own)}; leave one out")


def _sweepable(path: str, value: Any) -> None:
    if is_dataclass(value):
        inner = ", ".join(f"{path}.{each.name}" for each in fields(value))
        fix = f"sweep one of its settings: {inner}" if inner else "leave it out"
        raise UsageError(f"--over {path}: a {type(value).__name__} is no single value and cannot be swept; {fix}")
    if isinstance(value, tuple):
        fix = f"bench each with --set {path}=..., into the same --output"
        raise UsageError(f"--over {path}: its values are lists, which have no order and cannot be swept; {fix}")


def _point(request: Request, own: Sequence[str], texts: Sequence[str]) -> GridPoint:
    settings = tuple((OVER, path, text) for path, text in zip(own, texts, strict=True))
    asked = replace(request, settings=request.settings + settings)
    try:
        composed = compose(asked)
    except RecipeError as fault:
        raise type(fault)(f"{request.defense} {asked.swept}: {fault}") from None
    values = {path: _value(composed.plan, path) for path in own}
    for path, value in values.items():
        _sweepable(path, value)
    return GridPoint(asked, composed, values)


def _told_apart(path: str, axis: Axis, points: Sequence[GridPoint]) -> None:
    """Refuse two texts of an axis that are one value."""
    read = {text: point.values[path] for point in points for flag, own, text in point.request.settings
            if (flag, own) == (OVER, path)}  # fmt: skip
    for one, other in combinations(axis.texts, 2):
        if read[one] == read[other]:
            said = f"{one} is there twice" if one == other else f"{one} and {other} are one value"
            raise UsageError(f"--over {axis.path}: {said}; leave one out")
