"""Plan: everything about a run except its seed, as plain values; its fingerprint names the run folder."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from robench_fire.errors import GivenWeightsError, RecipeError, unknown
from robench_fire.problem.defense import Defense
from robench_fire.problem.own_data import OwnData
from robench_fire.problem.pgd import Replay
from robench_fire.problem.recipe import Cosine, Cyclic, Extra, OneCycle, Recipe, Steps, effective_passes
from robench_fire.problem.settings import OPTIONAL, leaves, plan_fingerprint, to_plain
from robench_fire.problem.targets import HardLabels
from robench_fire.problem.threat import Threat, scaled
from robench_fire.quantity import Quantity

Profile = Literal["matched", "short", "modern", "fastat", "official"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A defense on a data set, the threat model and recipe that train it, and the threat model its row claims.

    ``code``: the beginning of the SHA-256 of a defense file that is not bundled, so that another formula is another
    plan. ``data``: of a data set that is not bundled either, what its images are.
    """

    name: str
    dataset: str
    profile: Profile
    code: str = ""
    defense: Defense
    threat: Threat
    claim: Threat
    recipe: Recipe
    data: OwnData | None = field(default=None, metadata=OPTIONAL)

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            RecipeError: if the steps of the attack, or of validation's, cannot reach the boundary of the threat model,
                or it starts in a ball that is none, or the recipe leaves out a pass or an attack that the loss reads,
                mixes images whose targets are kept per image, or chooses between two copies and makes one.
        """
        attack, eps = self.recipe.attack, self.threat.eps
        needed = {"clean", "adv"} if self.defense.clean_in_outer else {"adv"}
        if attack and needed - set(effective_passes(self.recipe, self.defense.clean_in_outer)):
            passes, reads = ", ".join(self.recipe.passes), " and ".join(sorted(needed, reverse=True))
            raise RecipeError(f"recipe.passes {passes}: the loss of {self.name} reads {reads}")
        if self.recipe.augment.mix and not isinstance(self.defense.targets, HardLabels):
            raise RecipeError(
                f"recipe.augment.mix: {self.name} keeps targets per image, and mixed images have two; leave it out"
            )
        if self.recipe.augment.mix and self.defense.one_class:
            raise RecipeError(f"recipe.augment.mix: the loss of {self.name} goes by one class an image; leave it out")
        if attack is None and (further := [each.name for each in self.defense.further if each.around is None]):
            raise RecipeError(f"recipe.attack none: the loss of {self.name} reads {', '.join(further)} images; keep it")
        if isinstance(attack, Replay) and (found := [each for each in self.defense.attacks if each != "adv"]):
            reads = f"the loss of {self.name} reads {', '.join(found)} images, which an attack of their own finds"
            raise RecipeError(f"recipe.attack replay: {reads}; use a search, Pgd(...)")
        for path, each in (("attack", attack), ("validation_attack", attack and self.recipe.validation_attack)):
            if each and each.steps * each.step < eps * (1 - 1e-6):
                raise RecipeError(
                    f"{each.steps} steps of {each.step} cannot reach eps {eps}: "
                    f"raise recipe.{path}.steps or recipe.{path}.step"
                )
        if self.recipe.select == "copies" and not self.recipe.ema_decay:
            raise RecipeError("recipe.select copies: without recipe.ema_decay there is one copy; say validation")

        wide = [each.around for each in self.defense.further if each.around] + [getattr(attack, "spread", None) or 1.0]
        try:
            scaled(self.threat, max(wide))
        except ValueError as fault:
            raise RecipeError(f"a start of {max(wide):g} radii: {fault}; lower recipe.attack.spread") from None

    def with_recipe(self, **changes: Any) -> Plan:
        """This plan with some fields of its recipe replaced."""
        return replace(self, recipe=replace(self.recipe, **changes))

    def with_attack(self, **changes: Any) -> Plan:
        """This plan with some fields of its attack replaced; a plan without an attack stays as it is."""
        attack = self.recipe.attack
        return self if attack is None else self.with_recipe(attack=replace(attack, **changes))

    def with_defense(self, **changes: Any) -> Plan:
        """This plan with some coefficients of its defense replaced."""
        return replace(self, defense=replace(self.defense, **changes))

    def with_eps(self, eps: str, step: str) -> Plan:
        """This plan trained at another radius and step; the claim stays."""
        threat = replace(self.threat, eps=Quantity(eps))  # type: ignore[type-var]  # every Threat is a dataclass
        return replace(self.with_attack(step=Quantity(step)), threat=threat)

    def with_steps_for(self, eps: Quantity) -> Plan:
        """This plan with the steps of its attacks as long for another radius as they are for its own."""
        plan = self
        for name in ("attack", "validation_attack"):
            if own := getattr(self.recipe, name):
                step = float(own.step) * float(eps) / float(self.threat.eps)
                plan = plan.with_recipe(**{name: replace(own, step=Quantity(f"{step:.6g}"))})
        return plan

    def unreleased(self) -> RecipeError:
        """What ``official`` raises where the authors released no training code."""
        extra = self.recipe.extra
        kind = "" if extra is None else " with hidden labels" if extra.source == "hidden" else " with extra data"
        where = f"{self.dataset} {self.threat.norm}{kind}"
        return RecipeError(f"{self.name} has no released training code for {where}; use --profile matched")

    def needs_start(self) -> RecipeError:
        """What ``matched`` raises where a method begins from given weights, and none are given."""
        return GivenWeightsError(f"{self.name} begins from given weights: say --start FILE|RUN")

    def with_extra(self, extra: Extra) -> Plan:
        """The protocol for extra data of FIRE, section 5 (as in Carmon et al. 2019): twice the epochs, cosine."""
        return self.stretched(2, Cosine()).with_recipe(extra=extra)

    def stretched(self, factor: int, schedule: Steps | Cosine) -> Plan:
        """This plan with ``factor`` times its epochs on another schedule.

        A schedule of one cycle stays: the profile that brings it has it for all.
        """
        kept = self.recipe.schedule
        chosen = kept if isinstance(kept, Cyclic | OneCycle) else schedule
        return self.with_recipe(epochs=factor * self.recipe.epochs, schedule=chosen)


def fingerprint(plan: Plan) -> str:
    """12 hexadecimal digits of the SHA-256 of the plan's canonical JSON."""
    return plan_fingerprint(to_plain(plan))


def override(plan: Plan, path: str, text: str) -> Plan:
    """The plan with the leaf at ``path`` (``defense.lam``, ``recipe.attack.steps``) read from ``text``.

    Raises:
        RecipeError: for an unknown path (naming the fields that exist), a value of the wrong type, or a value that
            the plan refuses.
    """
    head, _, rest = path.partition(".")
    if head not in ("defense", "threat", "claim", "recipe") or not rest:
        raise RecipeError(no_setting(plan, path))
    attack, judging = plan.recipe.attack, plan.recipe.validation_attack
    if path.startswith("recipe.validation_attack.") and judging is None and not isinstance(attack, Replay):
        plan = plan.with_recipe(validation_attack=attack)  # what it is where nothing else is said
    try:
        changed = _replaced(plan, path.split("."), text, path)
    except ValueError as fault:
        raise RecipeError(f"{path}={text}: {fault}") from None
    assert isinstance(changed, Plan)
    return changed


def no_setting(plan: Plan, path: str) -> str:
    """The sentence for a path that is none, with those that may be meant: of the same last name, or spelt nearly so."""
    known = [each for each, _ in leaves(to_plain(replace(plan, data=None))) if "." in each]
    by_last: dict[str, list[str]] = {}
    for each in known:
        by_last.setdefault(each.rpartition(".")[2], []).append(each)
    last = path.rpartition(".")[2].lower().replace("-", "_")
    near = difflib.get_close_matches(path, known, n=3) or difflib.get_close_matches(last, by_last, n=1)
    meant = by_last.get(last) or [each for name in near for each in by_last.get(name, [name])]
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    where = plan.dataset if plan.data is None else f"./{plan.dataset} --eps {plan.threat.eps}"
    return f"unknown setting {path!r}: {hint}`robench show {plan.name} {where}` lists them all"


def _replaced(owner: Any, keys: Sequence[str], text: str, path: str) -> Any:
    fields = [field.name for field in dataclasses.fields(owner)] if dataclasses.is_dataclass(owner) else []
    if not fields:
        raise RecipeError(f"{path}: {_name(owner)} has no settings of its own")
    if keys[0] not in fields:
        raise RecipeError(f"{path}: " + unknown(f"field of {_name(owner)}", keys[0], fields))
    if len(keys) == 1:
        value = read_value(get_type_hints(type(owner))[keys[0]], text)
    else:
        value = _replaced(getattr(owner, keys[0]), keys[1:], text, path)
    return replace(owner, **{keys[0]: value})


def _name(owner: Any) -> str:
    return "none" if owner is None else type(owner).__name__


def read_value(kind: Any, text: str) -> Any:
    """``text`` as a value of the annotated type ``kind``; a dataclass is named by its kind, with its defaults."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in inner and text.lower() == "none":
            return None
        inner = tuple(each for each in inner if each is not type(None))
        return read_value(inner[0], text) if len(inner) == 1 else _read_kind(inner, text)
    if origin is Literal:
        if text not in inner:
            raise ValueError(unknown("value", text, inner))
        return text
    if origin is tuple:
        return tuple(read_value(inner[0], part.strip()) for part in text.split(",") if part.strip())
    if dataclasses.is_dataclass(kind):
        return _read_kind((kind,), text)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    if kind in (int, float, str, Quantity):
        return _read_scalar(kind, text)
    raise ValueError("cannot be set as a whole; set one of its fields, or write a defense file of your own")


def _read_scalar(kind: type, text: str) -> Any:
    if kind is int:
        if not re.fullmatch(r"[+-]?\d{1,9}", text, re.ASCII):
            most = " of nine digits at most" if len(text) > 9 and text.isdigit() else ""
            raise ValueError(f"expected an integer{most}, got {text[:20]!r}")
        return int(text)
    return float(Quantity(text)) if kind is float else kind(text)


def _read_kind(kinds: Sequence[Any], text: str) -> Any:
    named = {each.__name__.lower(): each for each in kinds}
    if text.lower() not in named:
        raise ValueError(unknown("kind", text, named))
    try:
        return named[text.lower()]()
    except TypeError:
        name = named[text.lower()].__name__
        raise ValueError(f"{name} is more than its name: set fields of one that is there, or write a file") from None
