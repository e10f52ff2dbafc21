"""Plans by name and by setting, and the runs that a user means. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robench_fire.errors import UsageError, unknown
from robench_fire.problem.settings import leaves, said_value
from robench_fire.quantity import same
from robench_fire.runs.folders import Run


def plain(name: str) -> str:
    """A name as it is compared: fire-sa, fire_sa and FIRE+SA are one."""
    return " ".join(name.lower().replace("-", "_").replace("+", "_").split())


def setting(text: str, plans: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Path and value of "defense.lam=6".

    Raises:
        UsageError: if it is no such text, or none of the plans has the setting.
    """
    path, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not path or not value:
        raise UsageError(f"--where {text}: expected PATH=VALUE, like defense.lam=6")
    known = {each for plan in plans for each, _ in leaves(plan)}
    if known and path not in known:
        raise UsageError(f"--where {text}: {unknown('setting', path, known)}")
    return path, value


def has(plan: Mapping[str, Any], path: str, value: str) -> bool:
    """Whether a plan has a value at a path; numbers are compared as numbers."""
    own = said_value(dict(leaves(plan)).get(path)).replace(" ", "")
    try:
        return own == value.replace(" ", "") or same(own, value)
    except ValueError:
        return own.lower() == value.lower()


def runs_with(runs: Sequence[Run], only: Sequence[str], where: Sequence[str]) -> list[Run]:
    """The runs of the defenses or plans ``only`` (none: all) with all of the settings ``where``, "defense.lam=6".

    Raises:
        UsageError: for a name or a setting that no run has.
        DataError: if a plan cannot be read.
    """
    if not (only or where):
        return list(runs)
    plans = [run.read("plan.json") for run in runs]
    names = [(plain(plan["name"]), run.folder.parent.name) for plan, run in zip(plans, runs, strict=True)]
    for name in only:
        if not any(plain(name) in own or name in own for own in names):
            raise UsageError(unknown("run", name, {plan["name"] for plan in plans}))
    wanted = [setting(text, plans) for text in where]
    return [
        run for run, plan, own in zip(runs, plans, names, strict=True)
        if (not only or any(plain(name) in own or name in own for name in only))
        and all(has(plan, *each) for each in wanted)
    ]  # fmt: skip
