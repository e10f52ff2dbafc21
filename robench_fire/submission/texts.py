"""Everything in a bundle that follows from the claim: one function, so that a check can make it again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from robench_fire.evaluation.reliability import Check
from robench_fire.files import as_json
from robench_fire.problem.dataset import Dataset
from robench_fire.runs.folders import SEEDS
from robench_fire.statistics.summary import MeanStd
from robench_fire.submission import robustbench_rows
from robench_fire.submission.claims.claim import Claim, SeedClaim
from robench_fire.submission.draft import marked
from robench_fire.submission.zoo_entry import CARRIED, NO_ID, ZooEntry, registered
from robench_fire.tables.entries import OURS, Entry, beside, of_row, shipped
from robench_fire.tables.formats import bibtex

EVALUATED = {"aa": "AutoAttack standard", "pgd20": "PGD-20, not AutoAttack"}
CHECKLIST = "CHECKLIST.md"
COMPLETED = ("ISSUE.md", "MODEL_CARD.md")
FOR_PEOPLE = (*COMPLETED, CHECKLIST)
"""What a person completes: boxes to tick, blanks to fill, things to add."""


def rendered(claim: Claim, entry: ZooEntry, parts: Dataset, checkpoint_sha256: str) -> dict[str, str]:
    """Path in the bundle to content."""
    info, listed = claim.model_info(), _listed(claim)
    rank = 1 + sum(each.score > float(info["autoattack_acc"]) for each in beside([listed], shipped()))
    known = _known(claim, entry, checkpoint_sha256) | {"rank": rank}
    made = {name: _filled(name, known) for name in (*COMPLETED, "leaderboard_row.html")}
    with registered(entry):
        made |= robustbench_rows.rows(claim.name, entry.dataset, entry.norm, info, rank)
    made |= {
        f"model_info/{entry.dataset}/{entry.norm}/{claim.name}.json": as_json(info),
        "zoo_entry.patch": entry.patch(),
        "refs.bib": bibtex([listed]) + "\n",
        "provenance/data_checksums.txt": _checksums(claim, parts),
    }
    if isinstance(claim, SeedClaim):
        made |= _training(claim)
    made |= {f"architectures/{Path(CARRIED).name}": entry.carried} if entry.carried else {}
    return {name: marked(name, text, claim.missing) for name, text in made.items()}


def _training(claim: SeedClaim) -> dict[str, str]:
    row = claim.row
    environment = {"paper": row.paper, "architecture": row.architecture, "by_hand": row.facts["by_hand"],
                   "sessions": row.facts["sessions"][str(claim.seed)]}  # fmt: skip
    made = {"plan": row.plan, "environment": environment, "seeds": _seeds(claim)}
    return {f"provenance/{name}.json": as_json(value) for name, value in made.items()}


def _listed(claim: Claim) -> Entry:
    """The line of a table that the claim would be."""
    if isinstance(claim, SeedClaim):
        return replace(of_row(claim.row), key=claim.name)
    info, facts = claim.model_info(), claim.facts
    return Entry(
        origin=OURS, key=claim.name, method=claim.name, title=info["name"], link=info["link"], authors=info["authors"],
        venue=info["venue"], architecture=info["architecture"], dataset=claim.dataset, norm=facts["norm"],
        eps=facts["eps"], clean=MeanStd(facts["clean"], None, 1), robust=MeanStd(facts["robust"], None, 1),
    )  # fmt: skip


def checklist(claim: Claim, entry: ZooEntry, checkpoint_sha256: str, found: Sequence[Check], robustbench: str) -> str:
    """CHECKLIST.md: what the check by this version of ``robustbench`` came to, and what is left to a person."""
    known = _known(claim, entry, checkpoint_sha256) | {"found": found, "robustbench": robustbench}
    text = _filled(CHECKLIST, known)
    return marked(CHECKLIST, text, claim.missing)


@cache
def _template(name: str) -> Any:
    """A text's template, compiled once: a check makes the texts again."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("robench_fire.submission", "templates"), undefined=StrictUndefined,
        keep_trailing_newline=True, autoescape=lambda template: bool(template and "html" in template),
    )  # fmt: skip
    return templates.get_template(f"{name}.j2")


def _filled(name: str, known: dict[str, Any]) -> str:
    text: str = _template(name).render(known)
    return text


def _known(claim: Claim, entry: ZooEntry, checkpoint_sha256: str) -> dict[str, Any]:
    """What the templates can say."""
    facts = claim.facts
    known = {
        "name": claim.name, "norm": facts["norm"], "facts": facts, "link": claim.link, "draft": bool(claim.missing),
        "attack": EVALUATED.get(facts["attack"], facts["attack"]), "attacks": ", ".join(facts["after"]),
        "examples": f"{'the first' if claim.missing else 'all'} {facts['examples']:,} test images",
        "reliability": _reliability(facts["reliability"]), "info": claim.model_info(),
        "checkpoint_sha256": checkpoint_sha256, "drive_id": entry.drive_id,
        "carried": CARRIED if entry.carried else "", "placeholder": NO_ID, "robustbench": version("robustbench"),
    }  # fmt: skip
    return known | (_of_seed(claim) if isinstance(claim, SeedClaim) else {"trained": 0, "file": claim.file})


def _of_seed(claim: SeedClaim) -> dict[str, Any]:
    """What they can say of a training."""
    row = claim.row
    return {
        "method": row.paper["method"], "seed": claim.seed, "rule": claim.rule, "extra": row.extra,
        "clean": f"{row.over_seeds('clean')}", "robust": f"{row.over_seeds('robust')}",
        "time": f"{row.over_seeds('train_seconds'):.0f}", "seeds": _seeds(claim)["seeds"],
        "trained": len(claim.validation), "not_evaluated": sorted(set(claim.validation) - set(row.per_seed)),
        "usual_seeds": SEEDS, "profile": row.profile, "fingerprint": row.fingerprint, "notes": row.footnotes(),
        "session": row.facts["sessions"][str(claim.seed)][-1],
    }  # fmt: skip


def _reliability(found: dict[str, Any]) -> str:
    """A verdict in a line, with how many checks are behind it."""
    passed = [check["passed"] for check in found["checks"]]
    open_ = f", {passed.count(None)} not made" if None in passed else ""
    return f"{found['verdict']} ({passed.count(True)} of {len(passed)} checks passed{open_})"


def _seeds(claim: SeedClaim) -> dict[str, Any]:
    """All seeds of the plan, which one is submitted, and the rule."""
    row, measures = claim.row, ("clean", "robust", "train_seconds")
    return {
        "submitted": claim.seed,
        "rule": claim.rule,
        "trained": sorted(claim.validation),
        "mean": {name: row.over_seeds(name).mean for name in measures},
        "std": {name: row.over_seeds(name).std for name in measures},
        "seeds": {
            str(seed): values
            | {
                "validation_robust": claim.validation[seed],
                "weights_sha256": row.facts["weights_sha256"][str(seed)],
                "verdict": row.facts["verdicts"][str(seed)]["verdict"],
            }
            for seed, values in row.per_seed.items()
        },
    }


def _checksums(claim: Claim, parts: Dataset) -> str:
    official = [f"{file.md5}  {file.path}  (MD5, official)" for file in parts.files]
    images = (
        f"{claim.facts['images_sha256']}  the {claim.facts['examples']:,} test images and labels (SHA-256, as read)"
    )
    return "\n".join([*official, images]) + "\n"


def drive_id(link: str) -> str:
    """The id in a link to a file on Google Drive; "" for other links."""
    found = re.search(r"^https://(?:drive|docs)\.google\.com/(?:file/d/|\S*[?&]id=)([\w-]{10,})", link)
    return found[1] if found else ""
