"""Plans of any kind: every defense, every field of a recipe, images of the user's own; and back from their JSON."""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bundled_defenses import NAMES, defense_of
from hypothesis import assume
from hypothesis import strategies as st

from robench_fire.problem.adversarial_weights import AdversarialWeights, WeightPerturbation
from robench_fire.problem.defense import Defense
from robench_fire.problem.own_data import OwnData
from robench_fire.problem.plan import Plan
from robench_fire.problem.recipe import Recipe
from robench_fire.problem.targets import HardLabels, SelfAdaptive, Targets
from robench_fire.problem.threat import L2, Linf, Threat
from robench_fire.quantity import Quantity

KINDS: dict[Any, tuple[type, ...]] = {
    Targets: (HardLabels, SelfAdaptive), WeightPerturbation: (AdversarialWeights,), Threat: (Linf, L2)
}  # fmt: skip
"""What implements each protocol."""
quantities = st.one_of(
    st.tuples(st.integers(1, 300), st.integers(255, 1000)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.floats(1e-6, 1).map(repr), st.sampled_from([".5", "1.", "+0.031", "8e-3"]),
).map(Quantity)  # fmt: skip
numbers = st.floats(0, 1) | st.sampled_from([0.1, 0.5]) | st.floats(0, 1e9)
names = st.text(min_size=1, max_size=8)


@cache
def hints_of(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([of(each) for each in inner])
    if origin is tuple:
        own = of(inner[0])
        return st.lists(own, max_size=3).map(tuple) if ... in inner else st.tuples(*map(of, inner))
    if origin is Literal:
        return st.sampled_from(inner)
    if hint in KINDS:
        return st.one_of([of(each) for each in KINDS[hint]])
    if dataclasses.is_dataclass(hint):
        return made(hint)  # type: ignore[arg-type]
    plain: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(), bool: st.booleans(), int: st.integers(1, 10**6), float: numbers, str: names,
        Quantity: quantities,
    }  # fmt: skip
    return plain[hint]


@st.composite
def made(draw: st.DrawFn, kind: type) -> Any:
    """A dataclass of any fields that it accepts."""
    return accepted(draw, kind, [field.name for field in dataclasses.fields(kind)])


def accepted(draw: st.DrawFn, kind: type, names: list[str]) -> Any:
    """One of some drawn fields, which are drawn again where they refuse each other."""
    for _ in range(20):
        try:
            return kind(**{name: draw(of(hints_of(kind)[name])) for name in names})
        except ValueError:
            pass
    return assume(False)


defenses: st.SearchStrategy[Defense] = st.sampled_from(NAMES).flatmap(
    lambda name: st.one_of(st.just(defense_of(name)), made(type(defense_of(name))))
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Half of the fields of a recipe are as they usually are, so that few of them refuse each other."""
    fields = [field.name for field in dataclasses.fields(Recipe)]
    recipe = accepted(draw, Recipe, [name for name in fields if name in ("arch", "attack") or draw(st.booleans())])
    about = {"name": draw(names), "dataset": draw(names), "code": draw(names), "profile": "matched"}
    threats = {name: draw(of(Threat)) for name in ("threat", "claim")}
    data = draw(st.none() | made(OwnData))
    return Plan(**about, **threats, defense=draw(defenses), recipe=recipe, data=data)


def rebuilt(plain: dict[str, Any], defense: type[Defense]) -> Plan:
    """The plan whose JSON this is, read by nothing but the names of kinds and the types of their fields."""
    known = {each.__name__: each for each in (defense, *(one for some in KINDS.values() for one in some))}
    found: Plan = _rebuilt(Plan, plain, known)
    return found


def _rebuilt(hint: Any, plain: Any, known: dict[str, Any]) -> Any:
    inner = [each for each in get_args(hint) if each is not type(None)]
    if plain is None:
        return None
    if isinstance(plain, list):
        return tuple(_rebuilt(inner[0], each, known) for each in plain)
    if isinstance(plain, dict):
        kinds = known | {each.__name__: each for each in (hint, *inner) if isinstance(each, type)}
        kind = kinds[plain["kind"]]
        hints = hints_of(kind)
        return kind(**{name: _rebuilt(hints[name], each, known) for name, each in plain.items() if name != "kind"})
    return Quantity(plain) if Quantity in (hint, *inner) else plain
