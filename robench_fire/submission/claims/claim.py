"""What a submission claims: a seed of a plan, chosen by a rule that never looks at the test images, or a checkpoint."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench_fire.boards.model_info import MATHJAX, reported, to_model_info
from robench_fire.boards.rows import Row
from robench_fire.boards.schema import problems
from robench_fire.errors import UnreliableError, UsageError
from robench_fire.models import robustbench_zoo
from robench_fire.models.names import display_name
from robench_fire.problem import registry
from robench_fire.runs.model_source import ModelSource, source_from_file
from robench_fire.submission.claims.lacking import Missing
from robench_fire.tables.entries import published

ONLY = "the only one that is trained"
ZERO = "the one that is submitted unless another rule is asked for"
MEDIAN = "the median of robust accuracy on the validation images, the lower one of two"
DRAFT = "DRAFT, not for submission"
PAPER = ("name", "authors", "venue", "link")
"""RobustBench's keys for a paper."""


@dataclass(frozen=True, kw_only=True)
class SeedClaim:
    """A seed of a plan, the same value from a run and from a bundle.

    ``name``: its key at RobustBench. ``link``: where its checkpoint lies, or "". ``synthetic``: whether its extra
    images were generated from the training set, and how many there are. ``validation``: robust accuracy in percent of
    each trained seed on the validation images, all that the rule looks at. ``row``: the seeds that were evaluated
    alike. ``facts``: of the chosen seed's evaluation, AutoAttack's unless that is ``missing``. With anything missing
    it is a draft.
    """

    name: str
    link: str
    synthetic: str
    seed: int
    validation: dict[int, float]
    row: Row
    facts: dict[str, Any]
    missing: tuple[Missing, ...] = ()

    @property
    def dataset(self) -> str:
        return self.row.dataset

    @property
    def rule(self) -> str:
        return choose(self.validation, str(self.seed))[1]

    def model_info(self) -> dict[str, Any]:
        """RobustBench's JSON of this model: the chosen seed's own accuracies, nothing of ours."""
        whole = to_model_info(self.row)
        notes = [f"It uses additional {self.synthetic} synthetic images in training."] if self.synthetic else []
        notes += [self.row.hidden] if self.row.extra == "hidden" else []
        about = {name: whole[name] for name in (*PAPER, "dataset", "architecture")}
        about |= {"additional_data": whole["additional_data"] and not self.synthetic}
        return _model_info(about, self.facts, reported(self.row, self.facts["robust"]), self.missing, notes)


@dataclass(frozen=True, kw_only=True)
class FileClaim:
    """A checkpoint that was trained elsewhere, of which only the evaluation is known here.

    ``name``, ``link``, ``facts``, ``missing``: as of a seed. ``paper``: RobustBench's keys of PAPER, by who submits it,
    as ``additional_data`` is. ``file``: what the evaluated file was called.
    """

    name: str
    link: str
    dataset: str
    paper: dict[str, str]
    additional_data: bool
    file: str
    facts: dict[str, Any]
    missing: tuple[Missing, ...] = ()

    def model_info(self) -> dict[str, Any]:
        """RobustBench's JSON of this model; the authors' own figure is the one that is claimed."""
        about = self.paper | {
            "dataset": self.dataset, "architecture": display_name(self.facts["arch"]),
            "additional_data": self.additional_data,
        }  # fmt: skip
        return _model_info(about, self.facts, f"{self.facts['robust']:.2f}", self.missing, [])

    def source(self, weights: Path) -> ModelSource:
        """The evaluated file, where it lies now, as it was read for the evaluation.

        Raises:
            RobenchError: if it cannot be read like that.
        """
        how, key = self.facts["normalise"], self.facts.get("weights_key", "")
        found = source_from_file(weights, self.dataset, self.facts["arch"], key=key)
        if found.normalise != how:
            found = source_from_file(weights, self.dataset, self.facts["arch"], how, key)
        return found


Claim = SeedClaim | FileClaim
"""One model as RobustBench would list it."""


def _model_info(
    about: dict[str, Any], facts: dict[str, Any], figure: str, missing: Sequence[Missing], notes: list[str]
) -> dict[str, Any]:
    draft = [f"{DRAFT}: {'; '.join(each.what for each in missing)}."] if missing else []
    smaller = [MATHJAX] if (facts["norm"], facts["eps"]) == ("Linf", "0.031") else []
    own = about | {
        "number_forward_passes": 1,
        "eps": facts["eps"],
        "clean_acc": f"{facts['clean']:.2f}",
        "reported": figure,
        "autoattack_acc": f"{facts['robust']:.2f}",
        "unreliable": facts["reliability"]["verdict"] == "unreliable",
    }
    names = ("link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue",
             "architecture", "eps", "clean_acc", "reported", "autoattack_acc", "unreliable")  # fmt: skip
    said = [*draft, *notes, *smaller]
    return {name: own[name] for name in names} | ({"footnote": " ".join(said)} if said else {})


def admissible(claim: Claim) -> None:
    """Refuse what RobustBench could not take, or nobody should claim. A draft needs a board, a name and a rule only.

    Raises:
        UsageError: for a board or radius that RobustBench does not have, a name that is taken or is not one, a seed
            that no rule names.
        UnreliableError: if an evaluation is not reliable.
    """
    check_board(claim.dataset, claim.facts["norm"], "" if claim.missing else claim.facts["eps"], claim.name)
    check_link(claim.link)
    if wrong := problems(claim.model_info(), claim.name):
        raise UsageError(f"{claim.name}: {'; '.join(wrong)}")
    if isinstance(claim, SeedClaim):
        _by_a_rule(claim)
    if not claim.missing and (found := doubts(claim)):
        raise UnreliableError(f"AutoAttack's result is not reliable ({'. '.join(found)}); see docs/evaluation.md")


def _by_a_rule(claim: SeedClaim) -> None:
    row = claim.row
    if claim.synthetic and row.extra != "file":
        raise UsageError("--synthetic is about extra data, and this plan has none")
    choose(claim.validation, str(claim.seed))
    if not {claim.seed} <= set(row.per_seed) <= set(claim.validation):
        listed = (", ".join(map(str, sorted(each))) for each in (row.per_seed, claim.validation))
        raise UsageError("seed {} of the evaluated seeds {} and the trained ones {}".format(claim.seed, *listed))


def doubts(claim: Claim) -> list[str]:
    """Why the evaluations behind a claim are not reliable, of each that is not."""
    verdicts = {"its evaluation": {name: claim.facts["reliability"][name] for name in ("verdict", "reasons")}}
    if isinstance(claim, SeedClaim):
        seeds = {f"seed {seed}": found for seed, found in claim.row.facts["verdicts"].items()}
        verdicts = seeds if seeds.get(f"seed {claim.seed}") == verdicts["its evaluation"] else seeds | verdicts
    return [
        f"{k}: {'; '.join(v['reasons']) or v['verdict']}" for k, v in verdicts.items() if v["verdict"] != "reliable"
    ]


def check_board(dataset: str, norm: str, eps: str, name: str) -> None:
    """Refuse what RobustBench has no place for; ``eps``: "" for a radius that may still change.

    Raises:
        UsageError: for a board or radius that it does not have, or a name that is on it already.
    """
    boards = robustbench_zoo.boards()
    if (dataset, norm) not in boards:
        listed = ", ".join(" ".join(board) for board in boards)
        raise UsageError(
            f"RobustBench has no board for {dataset} {norm} (it has {listed}), so nothing can be submitted; "
            "`robench table` prints and publishes the row"
        )
    usual = next(
        str(each.eps) for each in registry.load("datasets", dataset).module.DATASET.recipes if each.norm == norm
    )
    if eps and eps != usual and (norm, eps) != ("Linf", "0.031"):
        raise UsageError(f"eps {eps}: RobustBench's board is at {usual}; use --eps {usual}")
    known = {each.key for each in published() if (each.dataset, each.norm) == (dataset, norm)}
    if name in known or robustbench_zoo.holds(name, dataset, norm):
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
    if len(validation) == 1 and asked in ("", "median", str(median)):
        return median, ONLY
    if asked in ("", "0") and 0 in validation:
        return 0, ZERO
    if asked in ("median", str(median)):
        return median, MEDIAN
    if len(validation) == 1:
        raise UsageError(f"--seed {asked}: {median} is {ONLY}")
    first = f"0 ({ZERO}) or " if 0 in validation else ""
    raise UsageError(
        f"--seed {asked or 0}: choose {first}{median} ({MEDIAN}); a seed picked otherwise could be the best one on the "
        "test images"
    )


def count(images: int) -> str:
    """As RobustBench's footnotes have it: 1M, 500K."""
    return f"{images / 1e6:g}M" if images >= 1e6 else f"{images / 1e3:g}K"


def selected_by(validation: Mapping[str, Any]) -> float:
    """What seeds are told apart by, of an epoch: robust accuracy on validation images, clean without an attack."""
    return float(validation.get("robust", validation["clean"]))
