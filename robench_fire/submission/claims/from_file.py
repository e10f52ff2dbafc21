"""The claim that an evaluated checkpoint supports, with what only its user can say of it."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.resumable import is_judged
from robench_fire.models.names import asked
from robench_fire.problem import registry
from robench_fire.runs.folders import read_json
from robench_fire.runs.model_source import ZOO, ModelSource
from robench_fire.submission.claims.claim import PAPER, FileClaim, doubts
from robench_fire.submission.claims.lacking import NOT_JUDGED, lacking, refusal, unreliable

ASKED = {"yes": True, "no": False}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said of a checkpoint: its ``name`` at RobustBench, its paper by the keys of PAPER, its extra data."""

    name: str
    paper: dict[str, str]
    additional_data: bool


def told(paper: str, name: str, additional_data: str) -> Told:
    """``paper``: a defense, whose paper it is, or a JSON file with RobustBench's keys.

    Raises:
        UsageError: for whatever is not said: all of it at once.
        DataError: if the file cannot be read.
    """
    known: Mapping[str, Any] = {}
    if paper:
        known = read_json(Path(paper)) if paper.endswith(".json") else _of_defense(paper)
    name = name or str(known.get("key", ""))
    extra = ASKED.get(additional_data, known.get("additional_data"))
    lacks = [each for each in PAPER if not (isinstance(known.get(each), str) and known[each].strip())]
    where = paper if paper.endswith(".json") else "a JSON file with them, or a defense whose paper it is"
    missing = [f"{', '.join(lacks)}: with --paper, {where}"] if lacks else []
    missing += [] if name else ["its name at RobustBench, NameYearWord: with --name"]
    if not isinstance(extra, bool):
        missing.append(
            "additional_data, whether it was trained on more than the training set: with --additional-data yes|no"
        )
    if missing:
        raise UsageError(
            "\n".join(["not known of a checkpoint that was trained elsewhere:", *(f"  {m}" for m in missing)])
        )
    return Told(name=name, paper={each: known[each].strip() for each in PAPER}, additional_data=bool(extra))


def _of_defense(name: str) -> dict[str, Any]:
    paper = registry.load("defenses", name).module.PAPER
    return {"key": paper.key, "name": paper.title, "authors": paper.authors, "venue": paper.venue, "link": paper.link}


def claimed(source: ModelSource, its: Told, *, eps: str, link: str, images: int, draft: bool, again: str) -> FileClaim:
    """What the evaluations beside a checkpoint support, at the radius ``eps`` of the source's norm.

    ``images``: how many test images there are. ``draft``: whatever is missing is listed in the claim instead of
    refused. ``again``: the command that evaluates it.

    Raises:
        UsageError: for a model of RobustBench's zoo.
        DataError: if something is missing: all of it, and the command that brings it.
    """
    if source.arch.startswith(ZOO):
        raise UsageError(f"{source.arch} is RobustBench's already")
    facts = _evaluation(source, eps, images)
    if facts is None and (others := _read_otherwise(source)):
        raise DataError(f"{source.weights} was evaluated with {' and with '.join(others)}: say that here too")
    judge = again if facts and not is_judged(facts, {}) else ""
    missing = lacking(facts, source.stem, eps, images, again, judge)
    if facts is None or (missing and not draft):
        raise DataError(refusal(missing, facts is not None))
    claim = FileClaim(
        name=its.name, link=link, dataset=source.dataset, paper=its.paper, additional_data=its.additional_data,
        file=source.weights.name, facts={"reliability": NOT_JUDGED} | facts, missing=tuple(missing),
    )  # fmt: skip
    return replace(claim, missing=(*missing, *unreliable(doubts(claim), missing))) if draft else claim


def _read_otherwise(source: ModelSource) -> list[str]:
    """By which options the same file was evaluated, where those are not the ones given here."""
    paths = source.weights.parent.glob(f"{glob.escape(source.weights.name)}.*eval.*.json")
    found = [each for each in map(read_json, sorted(paths)) if each.get("weights_sha256") == source.sha256()]
    names = {"arch": "--arch", "normalise": "--normalise", "norm": "--norm", "weights_key": "--checkpoint-key"}
    own = {"arch": source.arch, "normalise": source.normalise, "norm": source.claim.norm, "weights_key": source.key}
    told = [
        " ".join(
            f"{flag} {asked(each[name])}" for name, flag in names.items() if each.get(name, "") not in ("", own[name])
        )
        for each in found
    ]
    return list(dict.fromkeys(each for each in told if each))


def _evaluation(source: ModelSource, eps: str, images: int) -> dict[str, Any] | None:
    """By AutoAttack on all images, or the nearest to it that there is of these weights, read alike."""
    paths = source.stem.parent.glob(f"{glob.escape(source.stem.name)}.*.json")
    wanted = {"weights_sha256": source.sha256(), "arch": source.arch, "normalise": source.normalise,
              "norm": source.claim.norm}  # fmt: skip
    found = [each for each in map(read_json, sorted(paths)) if wanted.items() <= each.items()]
    return max(
        (each for each in found if each["attack"] in ("aa", "pgd20")),
        key=lambda each: (each["eps"] == eps, each["attack"] == "aa", each["examples"] == images, each["examples"]),
        default=None,
    )
