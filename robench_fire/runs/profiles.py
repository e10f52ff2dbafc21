"""Shared recipes beside the matched one, by the profile that asks for them: every method departs from them alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from robench_fire.errors import RecipeError
from robench_fire.problem.dataset import Dataset
from robench_fire.problem.plan import Plan, Profile
from robench_fire.problem.recipe import Adam, Cyclic, OneCycle, Sgd


def short(plan: Plan) -> Plan:
    """Three tenths of the epochs, one triangle of the rate, up to twice its usual value (Wong et al. 2020)."""
    recipe = plan.recipe
    return plan.with_recipe(
        epochs=max(round(0.3 * recipe.epochs), 1), optimiser=_doubled(recipe.optimiser), schedule=Cyclic()
    )


def modern(plan: Plan) -> Plan:
    """Averaged weights, smoothed labels, one cycle of the rate, up to twice its usual value, as in Wang et al. 2023."""
    optimiser = _doubled(plan.recipe.optimiser)
    return plan.with_recipe(
        optimiser=optimiser, schedule=OneCycle(), ema_decay=0.995, ema_warm_up=True, label_smoothing=0.1
    )


def _doubled(optimiser: Sgd | Adam) -> Sgd | Adam:
    """A rate that is at its peak for a moment may be higher than one that stays."""
    return replace(optimiser, lr=2 * optimiser.lr)


OF_ANY: dict[str, Callable[[Plan], Plan]] = {"short": short, "modern": modern}
"""Of every data set; those of one alone are its ``protocols``."""


def begun(plan: Plan, dataset: Dataset) -> list[tuple[str, Plan]]:
    """The layer of the plan's profile, if it is not the matched recipe that is begun from.

    Raises:
        RecipeError: if this data set, at this threat model, has no such profile.
    """
    name, own = plan.profile, {each for each, recipes in dataset.protocols.items() if plan.threat in recipes}
    if name in own:
        return [(_source(name), replace(plan, recipe=dataset.protocols[name][plan.threat]))]
    if name in OF_ANY:
        return [(_source(name), OF_ANY[name](plan))]
    if name not in ("matched", "official"):
        known = [each for each in get_args(Profile) if each in (*OF_ANY, *own, "matched", "official")]
        where = f"{plan.dataset} {plan.threat.norm} {plan.threat.eps}"
        raise RecipeError(f"the {name} profile is a protocol of other data: {where} has {', '.join(known)}")
    return []


def _source(name: str) -> str:
    return f"the {name} profile (docs/defenses.md)"
