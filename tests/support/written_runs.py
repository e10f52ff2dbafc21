"""Run folders written as if trained and evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robench_fire.boards import rows
from robench_fire.models.names import display_name
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import to_plain
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.differences import by_hand
from robench_fire.runs.evaluations import evaluation_name
from robench_fire.runs.folders import Run

CLEAN = [90.0, 91.0, 92.0, 93.0, 94.0]


ROBUST = [50.0, 52.0, 51.0, 53.0, 49.0]


HASH = "0123456789abcdef" * 4


def write_run(
    root: Path,
    request: Request,
    seed: int,
    clean: float,
    robust: float | None,
    session: dict[str, Any] | None = None,
    **changes: Any,
) -> Run:
    """A finished run as `robench train` leaves it; ``robust`` None: trained, not evaluated."""
    composed = compose(request)
    plan = composed.plan
    run = Run(root / plan.dataset / plan.threat.norm / plan.name / fingerprint(plan) / f"seed-{seed}")
    run.write("plan.json", to_plain(plan))
    paper = composed.paper._asdict() | {"reported": [each._asdict() for each in composed.paper.reported]}
    session = {"versions": {"torch": "x"}, "device": "cpu", "commit": "abc"} | (session or {})
    about = {"architecture": display_name(plan.recipe.arch), "usual_eps": str(next(iter(composed.dataset.recipes)).eps)}
    run.write("provenance.json", about | {"by_hand": by_hand(request), "paper": paper, "sessions": [session]})
    run.weights.write_bytes(b"weights")
    run.write("train.json", {"seconds": 10.0 + seed, "weights_sha256": HASH})
    for attack, value in (("aa", robust), ("pgd20", None if robust is None else robust + 5)):
        if value is not None:
            facts = {
                "attack": attack,
                "norm": "Linf",
                "eps": str(plan.claim.eps),
                "examples": 300,
                "seed": 0,
                "batch_size": 500,
                "version": "1 on pyautoattack 0.2.0",
                "machines": ["torch x on cpu"],
                "robust_interval": [value - 5, value + 5],
                "flags": [],
                "reliability": {"verdict": "reliable", "reasons": []},
            }
            facts |= changes
            name = evaluation_name(
                attack, facts["norm"], facts["eps"], facts["examples"], facts["seed"], facts["batch_size"]
            )
            more = {"name": name, "clean": clean, "robust": value, "weights_sha256": HASH}
            run.write(f"eval.{name}.json", facts | more)
    return run


def write_five(root: Path, **asked: Any) -> None:
    for seed, (clean, robust) in enumerate(zip(CLEAN, ROBUST, strict=True)):
        write_run(root, Request(**{"defense": "fire", "dataset": "digits", **asked}), seed, clean, robust)


OFFICIAL = Request(defense="fire", dataset="cifar10", profile="official")  # trained at 0.031, claimed at 8/255


def write_at(root: Path, eps: str, values: list[float | None]) -> None:
    """AutoAttack at another radius beside what the seeds have: one value a seed, None where it was not run."""
    for run, value in zip(rows.find(root), values, strict=True):
        (path,) = run.folder.glob("eval.aa-Linf-8_255-*.json")
        if value is not None:
            facts = run.read(path.name) | {"eps": eps, "robust": value}
            run.write(path.name.replace("8_255", eps), facts)
