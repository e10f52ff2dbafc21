"""Why an AutoAttack result may not hold, in sentences for somebody who has read nothing else. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ZERO_GRADIENTS, SQUARE = "zero gradients", "Square stronger than white-box"
OWN = "AutoAttack's own checks"
MASKED = "gradients may be masked"
SENTENCES = {
    "randomised": "two passes over the same images gave different logits, so that gradients are noise to these "
    "attacks; use --attack aa-rand",
    "probabilities instead of logits": "the model returns probabilities, which hide gradients; leave out its softmax",
    "dynamic": "the model computes gradients in its forward pass, which these attacks do not follow",
    ZERO_GRADIENTS: f"some images had a gradient of exactly 0, where gradient attacks cannot search; {MASKED}",
    SQUARE: f"Square, a black-box attack, broke {{broken}} that the gradient attacks left; {MASKED}",
}
"""By the name of each sign that AutoAttack's own checks give."""
READ = "see docs/evaluation.md#reliability"


def sentence(flag: str, after: Mapping[str, float], examples: int) -> str:
    """What a sign says; ``after``: accuracy in percent after each attack, on so many images, where that is recorded."""
    left = {name: round(value * examples / 100) for name, value in after.items()}
    at = [*left].index("square") if "square" in left else 0
    before, then = [*left.values()][at - 1 : at + 1] if at else (0, 0)
    broken = f"{before - then} of {before} images" if at else "images"
    return SENTENCES.get(flag, flag).format(broken=broken)


def signs(facts: Mapping[str, Any]) -> list[str]:
    """The sentences for the signs of an evaluation, from its facts."""
    return [sentence(flag, facts.get("after", {}), facts.get("examples", 0)) for flag in facts["flags"]]


def reworded(reason: str) -> str:
    """A reason of an older result, which named AutoAttack's signs only; others as they are."""
    head, colon, rest = reason.partition(": no, ")
    if not colon or head != OWN:
        return reason
    return "; ".join(sentence(flag, {}, 0) for flag in rest.split(", "))
