"""What of a plan is not the shared recipe: the user's own settings, and those that a method's file asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from robench_fire.problem.settings import differing, leaves, to_plain
from robench_fire.runs.compose import Composed, Request, resolved, with_network


def by_hand(request: Request) -> dict[str, Any]:
    """Every value that differs from the recipe's own, but for what a table shows anyway: network and radius.

    None is the value of what the recipe has and the plan does not.
    """
    request = with_network(request)
    own = replace(request, eps=request.eps if request.data else "", epochs=None, settings=())
    recipe, asked = (dict(leaves(to_plain(resolved(each)[0].plan))) for each in (own, request))
    shown = ("recipe.arch", "threat.eps", "claim.eps")
    changed = {path: value for path, value in asked.items() if path not in recipe or recipe[path] != value}
    gone = [path for path in recipe if path not in asked]
    changed |= {path: None for path in gone if not any(path.startswith(f"{each}.") for each in (*changed, *gone))}
    return {path: value for path, value in changed.items() if path not in shown}


def departures(composed: Composed, request: Request) -> dict[str, list[Any]]:
    """By path, each setting that a method's own file changes against the shared recipe: its value, and the shared one.

    Its coefficients and what a table shows anyway are left out, and what the user then sets by hand; of the official
    profile everything, as that is a recipe of its own.
    """
    plans = [plan for _, plan in composed.layers]
    name = f"{composed.plan.name}, "
    own = [number for number, (source, _) in enumerate(composed.layers) if source.startswith(name)]
    if not own or request.profile == "official":
        return {}
    asked, shared = (to_plain(plans[number]) for number in (own[-1], own[0] - 1))
    there, hand = dict(leaves(asked)), by_hand(request)
    shown = ("defense.", "recipe.arch", "recipe.extra", "recipe.start", "recipe.teacher")
    return {
        path: list(pair) for path, pair in differing(asked, shared).items()
        if path in there and path not in hand and not path.startswith(shown)
    }  # fmt: skip
