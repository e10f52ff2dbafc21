"""The claim that the runs of a plan support, and what they still lack for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from robench_fire.boards.model_info import SUFFIXES
from robench_fire.boards.rows import Row, collect
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.resumable import is_judged
from robench_fire.runs import folders
from robench_fire.runs.folders import Run, extra_of
from robench_fire.submission.claims.claim import SeedClaim, choose, count, doubts, selected_by
from robench_fire.submission.claims.lacking import NOT_JUDGED, Missing, lacking, refusal, unreliable


def seeds_at(folder: Path) -> list[Run]:
    """All seeds of the one plan at ``folder``, or of the plan that a seed's folder belongs to.

    Raises:
        UsageError: for none or several plans.
    """
    plans = {run.folder.parent for run in folders.find(folder)}
    if len(plans) != 1:
        found = "no run" if not plans else f"{len(plans)} plans"
        raise UsageError(f"{folder} holds {found}; name the folder of one plan, `robench ls runs` lists them")
    return folders.find(plans.pop())


def default_name(every: Sequence[Run]) -> str:
    """The paper's key, and what was mixed in, as on our boards."""
    extra = extra_of(every[0].read("plan.json"))
    return str(every[0].read("provenance.json")["paper"]["key"]) + SUFFIXES[extra]


def claimed(
    every: Sequence[Run],
    *,
    seed: str,
    eps: str,
    name: str,
    link: str,
    synthetic: bool,
    images: int,
    draft: bool = False,
) -> SeedClaim:
    """What the trained seeds of a plan support.

    ``seed``: "" for 0, "median", or a number, which must be one of these two. ``eps``: the radius, by default the
    plan's own claim. ``images``: how many test images there are. ``synthetic``: its extra images were generated.
    ``draft``: whatever is missing is listed in the claim instead of refused, and figures are of what was evaluated.

    Raises:
        UsageError: for a seed picked otherwise.
        DataError: if something is missing: all of it, and the command that brings it.
    """
    trained = trained_of(every)
    validation = {run.seed: selected_by(run.validation()) for run in trained}
    chosen, _ = choose(validation, seed)
    run = next(each for each in trained if each.seed == chosen)
    at = eps or run.read("plan.json")["claim"]["eps"]
    row = _row(run, at, images)
    missing = _missing(run, row, at, images)
    if row is None or (missing and not draft):
        raise DataError(refusal(missing, row is not None))
    extra = run.read("train.json").get("extra_images", 0)
    claim = SeedClaim(
        name=name, link=link, synthetic=count(extra) if synthetic else "", seed=chosen, validation=validation, row=row,
        facts={"reliability": NOT_JUDGED} | _evaluation(run, row), missing=tuple(missing),
    )  # fmt: skip
    return replace(claim, missing=(*missing, *unreliable(doubts(claim), missing))) if draft else claim


def trained_of(every: Sequence[Run]) -> list[Run]:
    """Those whose training has ended.

    Raises:
        DataError: for none, naming the command that continues.
    """
    if not (trained := [run for run in every if run.trained]):
        again = every[0].read("provenance.json")["sessions"][-1]["command"]
        raise DataError(
            f"no seed is trained yet: {', '.join(f'seed {run.seed} ({run.status()})' for run in every)}; "
            f"`{again}` continues"
        )
    return trained


def _row(run: Run, eps: str, images: int) -> Row | None:
    """The row of the seeds evaluated as ``run``: on all images by AutoAttack, or by the nearest to it that there is.

    Without what a board of one norm does not ask for: accuracy under common corruptions and under several norms.
    """
    radii = dict.fromkeys([eps, *(str(each["eps"]) for each in run.evaluations())])
    rows = [row for at in radii for folder in (run.folder.parent, run.folder) for row in collect(folder, at)]
    found = max(
        (row for row in rows if run.seed in row.per_seed),
        key=lambda row: (row.eps == eps, row.attack == "aa", row.examples == images, row.examples),
        default=None,
    )
    without = ("corruptions", "union")
    return found and replace(found, facts={name: each for name, each in found.facts.items() if name not in without})


def _missing(run: Run, row: Row | None, eps: str, images: int) -> list[Missing]:
    """What RobustBench needs of a seed and its row that is not there."""
    stem, again = run.folder / "eval", f"robench eval {run.folder} --attack aa --eps {eps}"
    if row is None:
        return lacking(None, stem, eps, images, again)
    alike = [each for each in folders.find(run.folder.parent) if each.seed in row.per_seed]
    judged = all(is_judged(_evaluation(each, row), each.siblings()) for each in alike)
    judge = "" if judged else f"robench eval {run.folder.parent} --attack aa --eps {eps}"
    return lacking(_evaluation(run, row), stem, eps, images, again, judge)


def _evaluation(run: Run, row: Row) -> dict[str, Any]:
    wanted = {"attack": row.attack, "norm": row.norm, "eps": row.eps, "examples": row.examples,
              "seed": row.evaluation_seed, "batch_size": row.facts["evaluation_batch_size"],
              "robust": row.per_seed[run.seed]["robust"]}  # fmt: skip
    order = row.facts.get("evaluation_order", "")
    found = (each for each in run.evaluations() if each.get("order", "") == order)
    return next(each for each in found if wanted.items() <= each.items())
