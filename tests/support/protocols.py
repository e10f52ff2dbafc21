"""The facts of a plan that the published tables give, and those of the shared recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robench_fire.problem.plan import Plan, Profile
from robench_fire.problem.recipe import Augment, Cosine, Sgd
from robench_fire.runs.compose import Request, compose


def plan_of(name: str, dataset: str, profile: Profile, arch: str = "", extra_data: Path | None = None) -> Plan:
    asked = Request(defense=name, dataset=dataset, profile=profile, arch=arch, extra_data=extra_data)
    return compose(asked).plan


def drops_of(plan: Plan) -> list[float] | str:
    """The epochs, counted from 1, at which the rate drops."""
    if isinstance(plan.recipe.schedule, Cosine):
        return "cosine"
    assert plan.recipe.schedule.factor == 0.1
    return [round(share * plan.recipe.epochs, 6) for share in plan.recipe.schedule.at]


def protocol(plan: Plan) -> dict[str, Any]:
    """The facts of a plan that the published tables give."""
    recipe, optimiser = plan.recipe, plan.recipe.optimiser
    assert recipe.attack is not None
    facts = {
        "eps": str(plan.threat.eps),
        "step": str(recipe.attack.step),
        "steps": recipe.attack.steps,
        "start": recipe.attack.start,
        "mode": recipe.attack_mode,
        "passes": " ".join(recipe.passes),
        "lr": optimiser.lr,
        "batch": recipe.batch_size,
        "epochs": recipe.epochs,
        "drops": drops_of(plan),
        "augment": recipe.augment,
        "select": recipe.select,
        "strength": {name: value for name, value in vars(plan.defense).items() if name not in ("targets", "weights")},
    }
    if isinstance(optimiser, Sgd):
        assert optimiser.momentum == 0.9
        facts |= {"nesterov": optimiser.nesterov, "decay": optimiser.weight_decay}
    return facts


SHARED = {
    "eps": "8/255", "step": "2/255", "steps": 10, "start": "gaussian", "mode": "eval", "passes": "clean adv",
    "lr": 0.1, "nesterov": True, "decay": 5e-4, "batch": 256, "epochs": 100, "drops": [75, 90],
    "augment": Augment(pad=4, flip=True), "select": "last",
}  # fmt: skip


FAMILY = SHARED | {"eps": "0.031", "step": "0.007"}  # of TRADES


SHARED_MNIST = SHARED | {"eps": "0.3", "step": "0.01", "steps": 40, "lr": 0.01, "augment": Augment(pad=0, flip=False)}


SHARED_DIGITS = SHARED | {
    "eps": "0.2", "step": "0.05", "lr": 0.05, "batch": 128, "epochs": 20, "drops": [15, 18],
    "augment": Augment(pad=0, flip=False),
}  # fmt: skip
