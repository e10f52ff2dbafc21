"""What a reader must know of how a row was trained: images that were added, and what its profile changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GIVEN = {
    "start": "Training began from given weights, {}.",
    "teacher": "Learnt from a teacher, {}, whose own training is not among the costs.",
}


def added(times: Mapping[int, Mapping[str, Any]]) -> dict[str, int]:
    """How many images of a file were added, of what trainings recorded; nothing where none were."""
    first = next(iter(times.values()))
    return {"extra_images": first["extra_images"]} if "extra_images" in first and "labeller" not in first else {}


def notes(plan: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Of images from a file: what they are, how many, and their share; of a profile: what it trained with."""
    return [*_added(plan["recipe"]["extra"], facts.get("extra_images")), *_profile(plan)]


def given(plan: Mapping[str, Any]) -> list[str]:
    """Of weights of another training that it used."""
    used = [(said, plan["recipe"][name]["of"]) for name, said in GIVEN.items() if plan["recipe"].get(name)]
    return [said.format(of if "/" in of else f"{of[:12]} (SHA-256)") for said, of in used]


def _added(extra: Mapping[str, Any] | None, count: int | None) -> list[str]:
    if not extra or extra["source"] != "file":
        return []
    kind = "generated" if extra.get("made_by") == "generator" else "pseudo-labelled"
    many = "" if count is None else f"{count:,} "
    return [f"Extra data: {many}{kind} images of a file, {extra['share']:.0%} of each batch."]


def _profile(plan: Mapping[str, Any]) -> list[str]:
    if plan["profile"] == "matched":
        return []
    with_ = _unusual(plan["recipe"])
    return [f"Trained with the {plan['profile']} profile{': ' * bool(with_)}{', '.join(with_)}."]


def _unusual(recipe: Mapping[str, Any]) -> list[str]:
    """What is neither the threat model's nor a matter of how long and how fast."""
    ema, share = recipe["ema_decay"], recipe.get("label_smoothing")
    return [
        *([f"weights averaged ({ema:g})"] if ema else []),
        *([f"labels smoothed ({share:g})"] if share else []),
        *(["one cycle of the rate"] if recipe["schedule"]["kind"] == "OneCycle" else []),
        *(["epoch and copy chosen on validation images"] if recipe["select"] == "copies" else []),
    ]
