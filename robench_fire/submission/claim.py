"""What a submission claims: one seed of a finished plan, chosen by a rule that never looks at the test images."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench_fire import registry, runs, zoo
from robench_fire.assess import is_judged
from robench_fire.entries import published
from robench_fire.errors import DataError, UnreliableError, UsageError
from robench_fire.leaderboard import SEEDS, Row, collect
from robench_fire.model_info import MATHJAX, SUFFIXES, reported, to_model_info
from robench_fire.runs import Run
from robench_fire.schema import problems

ZERO = "the one that is submitted unless another rule is asked for"
MEDIAN = "the median of robust accuracy on the validation images, the lower one of two"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One model as RobustBench would list it; the same value from a run and from a bundle.

    ``name``: its key there. ``link``: where its checkpoint lies, or "". ``synthetic``: whether its extra images were
    generated from the training set, and how many there are. ``validation``: robust accuracy in percent of each seed on
    the validation images, all that the rule looks at. ``row``: all seeds. ``facts``: of the chosen seed's AutoAttack.
    """

    name: str
    link: str
    synthetic: str
    seed: int
    validation: dict[int, float]
    row: Row
    facts: dict[str, Any]

    @property
    def rule(self) -> str:
        return choose(self.validation, str(self.seed))[1]

    def model_info(self) -> dict[str, Any]:
        """RobustBench's JSON of this model: the chosen seed's own accuracies, nothing of ours."""
        whole, facts = to_model_info(self.row), self.facts
        notes = [f"It uses additional {self.synthetic} synthetic images in training."] if self.synthetic else []
        notes += [self.row.hidden] if self.row.extra == "hidden" else []
        notes += [MATHJAX] if (self.row.norm, self.row.eps) == ("Linf", "0.031") else []
        own = {
            "additional_data": whole["additional_data"] and not self.synthetic,
            "clean_acc": f"{facts['clean']:.2f}",
            "reported": reported(self.row, facts["robust"]),
            "autoattack_acc": f"{facts['robust']:.2f}",
            "unreliable": facts["reliability"]["verdict"] == "unreliable",
        }
        names = ("link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue",
                 "architecture", "eps", "clean_acc", "reported", "autoattack_acc", "unreliable")  # fmt: skip
        info = {name: (whole | own)[name] for name in names}
        return info | ({"footnote": " ".join(notes)} if notes else {})


def seeds_at(folder: Path) -> list[Run]:
    """All seeds of the one plan at ``folder``, or of the plan that a seed's folder belongs to.

    Raises:
        UsageError: for none or several plans.
    """
    plans = {run.folder.parent for run in runs.find(folder)}
    if len(plans) != 1:
        found = "no run" if not plans else f"{len(plans)} plans"
        raise UsageError(f"{folder} holds {found}; name the folder of one plan, `robench ls runs` lists them")
    return runs.find(plans.pop())


def default_name(every: Sequence[Run]) -> str:
    """The paper's key, and what was mixed in, as on our boards."""
    extra = every[0].read("plan.json")["recipe"]["extra"]
    return str(every[0].read("provenance.json")["paper"]["key"]) + SUFFIXES[extra["source"] if extra else ""]


def claimed(every: Sequence[Run], *, seed: str, eps: str, name: str, link: str, synthetic: bool, images: int) -> Claim:
    """What the seeds of a plan support.

    ``seed``: "" for 0, "median", or a number, which must be one of these two. ``eps``: the radius, by default the
    plan's own claim. ``images``: how many test images there are. ``synthetic``: its extra images were generated.

    Raises:
        UsageError: for a seed picked otherwise.
        DataError: if something is not finished or missing, naming the command that makes it.
    """
    row = _row(every, eps, images)
    validation = {run.seed: _validation(run) for run in every}
    chosen, _ = choose(validation, seed)
    run = next(each for each in every if each.seed == chosen)
    trained = run.read("train.json")
    return Claim(
        name=name, link=link, synthetic=count(trained.get("extra_images", 0)) if synthetic else "", seed=chosen,
        validation=validation, row=row, facts=_evaluation(run, row),
    )  # fmt: skip


def count(images: int) -> str:
    """As RobustBench's footnotes have it: 1M, 500K."""
    return f"{images / 1e6:g}M" if images >= 1e6 else f"{images / 1e3:g}K"


def _row(every: Sequence[Run], eps: str, images: int) -> Row:
    """The row of all seeds, if every one of them is finished and evaluated alike on all test images."""
    again = f"`{every[0].read('provenance.json')['sessions'][-1]['command']}`"
    unfinished = [f"seed {run.seed} ({run.status()})" for run in every if not run.trained]
    if unfinished:
        raise DataError(f"not finished: {', '.join(unfinished)}; {again} continues")
    if len(every) < SEEDS:
        raise DataError(f"{len(every)} of {SEEDS} seeds are trained; {again} with --seeds {SEEDS} adds the others")
    at = eps or every[0].read("plan.json")["claim"]["eps"]
    how = f"`robench eval {every[0].folder.parent} --attack aa --eps {at}"
    row = next(iter(collect(every[0].folder.parent, eps)), None)
    if row is None or row.attack != "aa":
        raise DataError(f"there is no AutoAttack result at eps {at}; {how}` makes it")
    if row.examples != images:
        raise DataError(
            f"AutoAttack was run on {row.examples:,} of the {images:,} test images; RobustBench wants all: {how}`"
        )
    if row.unfinished:
        seeds, batch = ", ".join(map(str, row.unfinished)), row.facts["evaluation_batch_size"]
        same = f"{how} --seed {row.evaluation_seed} --batch-size {batch}`"
        raise DataError(f"seed {seeds}: no AutoAttack result like the other seeds'; {same} makes it")
    if any(not is_judged(_evaluation(run, row), run.siblings()) for run in every):
        raise DataError(f"AutoAttack's results were not all judged with all seeds at hand; {how}` judges them")
    return row


def admissible(claim: Claim) -> None:
    """Refuse what RobustBench could not take, or nobody should claim.

    Raises:
        UsageError: for a board or radius that RobustBench does not have, a name that is taken or is not one, a seed
            that no rule names, too few seeds.
        UnreliableError: if an evaluation of a seed is not reliable.
    """
    row = claim.row
    check_board(row.dataset, row.norm, row.eps, claim.name)
    check_link(claim.link)
    if wrong := problems(claim.model_info(), claim.name):
        raise UsageError(f"{claim.name}: {'; '.join(wrong)}")
    if claim.synthetic and row.extra != "file":
        raise UsageError("--synthetic is about extra data, and this plan has none")
    if len(row.per_seed) < SEEDS or set(row.per_seed) != set(claim.validation):
        raise UsageError(f"{len(row.per_seed)} of {SEEDS} seeds")
    choose(claim.validation, str(claim.seed))
    verdicts = {f"seed {seed}": found for seed, found in row.facts["verdicts"].items()}
    verdicts["its evaluation"] = claim.facts["reliability"]
    doubts = [
        f"{k}: {'; '.join(v['reasons']) or v['verdict']}" for k, v in verdicts.items() if v["verdict"] != "reliable"
    ]
    if doubts:
        raise UnreliableError(f"AutoAttack's result is not reliable ({'. '.join(doubts)}); see docs/evaluation.md")


def check_board(dataset: str, norm: str, eps: str, name: str) -> None:
    """Refuse what RobustBench has no place for.

    Raises:
        UsageError: for a board or radius that it does not have, or a name that is on it already.
    """
    boards = zoo.boards()
    if (dataset, norm) not in boards:
        listed = ", ".join(" ".join(board) for board in boards)
        raise UsageError(
            f"RobustBench has no board for {dataset} {norm} (it has {listed}), so nothing can be submitted; "
            "`robench table` prints and publishes the row"
        )
    usual = next(
        str(each.eps) for each in registry.load("datasets", dataset).module.DATASET.recipes if each.norm == norm
    )
    if eps != usual and (norm, eps) != ("Linf", "0.031"):
        raise UsageError(f"eps {eps}: RobustBench's board is at {usual}; use --eps {usual}")
    known = {each.key for each in published() if (each.dataset, each.norm) == (dataset, norm)}
    if name in known or zoo.holds(name, dataset, norm):
        raise UsageError(f"RobustBench already has {name}; give yours another name with --name")


def check_link(link: str) -> None:
    """Refuse what is not an address.

    Raises:
        UsageError: for anything but http(s) or nothing.
    """
    if link and not re.fullmatch(r"https?://[^\s()<>]+", link):
        raise UsageError(f"--link {link}: expected the https:// address of the checkpoint")


def choose(validation: dict[int, float], asked: str) -> tuple[int, str]:
    """The seed to submit, and the rule it follows.

    Raises:
        UsageError: for a seed that neither rule names; picked by hand it could be the best on the test images.
    """
    middle = statistics.median_low(validation.values())
    median = min(seed for seed, value in validation.items() if value == middle)
    if asked in ("", "0") and 0 in validation:
        return 0, ZERO
    if asked in ("median", str(median)):
        return median, MEDIAN
    first = f"0 ({ZERO}) or " if 0 in validation else ""
    raise UsageError(
        f"--seed {asked or 0}: choose {first}{median} ({MEDIAN}); a seed picked otherwise could be the best one on the "
        "test images"
    )


def _validation(run: Run) -> float:
    """Robust accuracy on the validation images in the epoch whose weights were kept."""
    curve = run.folder / "curve.jsonl"
    if not curve.exists():
        raise DataError(f"{curve} is missing; without it no seed can be chosen")
    return kept_validation(curve.read_text(encoding="utf-8"), run.read("plan.json"))


def kept_validation(curve: str, plan: dict[str, Any]) -> float:
    """The same, from the text of a curve; clean accuracy for a recipe that trains without an attack."""
    scores = [each.get("robust", each["clean"]) for each in map(json.loads, curve.splitlines())]
    return float(max(scores) if plan["recipe"]["select"] == "validation" else scores[-1])


def _evaluation(run: Run, row: Row) -> dict[str, Any]:
    wanted = {"attack": "aa", "norm": row.norm, "eps": row.eps, "examples": row.examples, "seed": row.evaluation_seed,
              "batch_size": row.facts["evaluation_batch_size"]}  # fmt: skip
    return next(each for each in run.evaluations() if wanted.items() <= each.items())
