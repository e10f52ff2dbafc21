"""What an evaluation lacks for a submission, and the commands that bring it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robench_fire.runs.evaluations import ATTACK_NAMES

NOT_JUDGED = {"verdict": "unknown", "reasons": ["not judged"], "checks": []}


class Missing(NamedTuple):
    """What a submission still needs, and how it is brought."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


def lacking(
    facts: Mapping[str, Any] | None, stem: Path, eps: str, images: int, again: str, judged: str = ""
) -> list[Missing]:
    """What an evaluation lacks, whose files are ``stem``.<name>.*; None for no evaluation.

    ``again``: the command that evaluates at ``eps``. ``judged``: the command that judges, where that is to be done.
    """
    if facts is None or facts["attack"] != "aa" or facts["eps"] != eps:
        there = "" if facts is None else f"; there is {in_words(facts)}"
        return [Missing(f"there is no AutoAttack result at eps {eps}{there}", f"`{again}` makes it")]
    missing = []
    if facts["examples"] != images:
        missing.append(Missing(few(facts, images), f"RobustBench wants all: `{again}`"))
    if judged:
        told = "AutoAttack's results were not all judged with all trained seeds at hand"
        missing.append(Missing(told, f"`{judged}` judges them"))
    name = f"{stem.name}.{facts['name']}"
    if not (kept := stem.with_name(f"{name}.adv.safetensors")).exists():
        missing.append(Missing(f"{kept} is missing", f"move {name}.json away and evaluate again: `{again}`"))
    return missing


RAN = "AutoAttack was run on "


def few(facts: Mapping[str, Any], images: int) -> str:
    """On how many of the test images AutoAttack was run."""
    return f"{RAN}{facts['examples']:,} of the {images:,} test images"


def unreliable(doubts: Sequence[str], missing: Sequence[Missing]) -> list[Missing]:
    """That the verdict is not reliable, as something missing beside what else is; nothing if there are no doubts."""
    again = "the complete evaluation is judged again" if missing else "docs/evaluation.md says what to look at"
    return [Missing(f"the result is not known to be reliable ({'. '.join(doubts)})", again)] if doubts else []


def refusal(missing: Sequence[Missing], evaluated: bool) -> str:
    """All of it, and what can be done before it is there."""
    draft = "--draft makes the bundle from what is there, to look at before that"
    if not evaluated:
        draft = "--draft needs some evaluation too, `robench eval ... --examples 16` is enough for it"
    return "\n".join(["it cannot be submitted yet:", *(f"  {each}" for each in missing), draft])


def in_words(facts: Mapping[str, Any]) -> str:
    """An evaluation in words."""
    attack = ATTACK_NAMES.get(facts["attack"], facts["attack"])
    return f"{attack} at eps {facts['eps']} on {facts['examples']:,} images"
