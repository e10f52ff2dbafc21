"""Rows: what a plan's seeds reached, collected from run folders or read from RobustBench's JSON files.

Plain JSON; imports no torch. Percentages are floats here and become strings only in ``to_model_info``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench_fire.errors import DataError
from robench_fire.files import write_json
from robench_fire.runs import Run, find, read_json
from robench_fire.stats import MeanStd, mean_std

SEEDS = 5  # how many seeds a row should have
BOARD_KEY = "robench_fire"  # everything of ours lies under this one key of a RobustBench file


@dataclass(frozen=True, kw_only=True)
class Row:
    """One plan, summarised over its seeds.

    ``per_seed``: for each seed "clean", "robust" and "train_seconds". ``attack``: "aa" or "pgd20", what ``robust``
    means. ``unfinished``: seeds that have no such evaluation yet. Everything else is as recorded.
    """

    paper: dict[str, Any]
    architecture: str
    plan: dict[str, Any]
    fingerprint: str
    norm: str
    eps: str
    attack: str
    examples: int
    evaluation_seed: int
    per_seed: dict[int, dict[str, float]]
    unfinished: tuple[int, ...]
    pgd20: dict[int, float]
    facts: dict[str, Any]

    def over_seeds(self, measure: str) -> MeanStd:
        return mean_std([values[measure] for _, values in sorted(self.per_seed.items())])

    @property
    def average(self) -> MeanStd:
        """(clean + robust) / 2 per seed, as in the FIRE paper."""
        return mean_std([(v["clean"] + v["robust"]) / 2 for _, v in sorted(self.per_seed.items())])

    @property
    def dataset(self) -> str:
        return str(self.plan["dataset"])

    @property
    def profile(self) -> str:
        return str(self.plan["profile"])

    @property
    def extra(self) -> str:
        """ "file" or "hidden" where pseudo-labelled images were mixed in, else empty."""
        extra = self.plan["recipe"]["extra"]
        return str(extra["source"]) if extra else ""

    def footnotes(self) -> list[str]:
        """What a reader must know before comparing this row with another one."""
        notes = []
        if self.extra == "hidden":
            share = self.plan["recipe"]["extra"]["hidden"]
            notes.append(
                f"No extra data: the labels of {share:.0%} of the training images were hidden, and those images "
                "pseudo-labelled by a standard classifier trained on the rest."
            )
        if len(self.per_seed) < SEEDS:
            notes.append(f"{len(self.per_seed)} of {SEEDS} seeds.")
        if self.unfinished:
            notes.append(f"Seed {', '.join(map(str, self.unfinished))} not finished.")
        if self.attack != "aa":
            notes.append("Robust accuracy is PGD-20, not AutoAttack.")
        if self.profile != "matched":
            notes.append(f"Trained with the {self.profile} profile.")
        if self.plan["threat"]["eps"] != self.eps:
            notes.append(f"Trained at eps {self.plan['threat']['eps']}.")
        return notes


def collect(folder: Path) -> list[Row]:
    """One row per plan that has an evaluated seed at or below ``folder``, best robust accuracy first."""
    plans: defaultdict[Path, list[Run]] = defaultdict(list)
    for run in find(folder):
        plans[run.folder.parent].append(run)
    rows = [row for path, runs in plans.items() if (row := _row(path.name, runs)) is not None]
    return ranked(rows)


def ranked(rows: Iterable[Row]) -> list[Row]:
    """By data set, norm and radius, then AutoAttack before PGD-20, then robust accuracy."""

    def place(row: Row) -> tuple[Any, ...]:
        return row.dataset, row.norm, row.eps, row.attack, -row.over_seeds("robust").mean, row.paper["method"]

    return sorted(rows, key=place)


def _row(fingerprint: str, runs: list[Run]) -> Row | None:
    trained = {run.seed: run for run in runs if run.trained}
    found = {seed: run.evaluations() for seed, run in trained.items()}
    if not any(found.values()):
        return None
    plan = next(iter(trained.values())).read("plan.json")
    chosen = _shared_evaluation(plan, found)
    if chosen is None:
        return None
    attack, examples, seed = chosen
    claim = plan["claim"]
    scored = {k: each for k, all_ in found.items() if (each := _pick(all_, claim, attack, examples, seed)) is not None}
    quick = {k: each["robust"] for k in scored if (each := _pick(found[k], claim, "pgd20", examples, seed)) is not None}
    times = {k: trained[k].read("train.json") for k in scored}
    first = trained[min(scored)].read("provenance.json")
    return Row(
        paper=first["paper"],
        architecture=first["architecture"],
        plan=plan,
        fingerprint=fingerprint,
        norm=claim["kind"],
        eps=claim["eps"],
        attack=attack,
        examples=examples,
        evaluation_seed=seed,
        per_seed={
            k: {"clean": each["clean"], "robust": each["robust"], "train_seconds": times[k]["seconds"]}
            for k, each in sorted(scored.items())
        },
        unfinished=tuple(sorted({run.seed for run in runs} - set(scored))),
        pgd20=quick,
        facts=_facts(first, scored, times),
    )


def _facts(
    first: dict[str, Any], scored: dict[int, dict[str, Any]], times: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """What a stranger needs to redo the row, beside the plan."""
    some = next(iter(scored.values()))
    return {
        "versions": first["versions"],
        "python": first["python"],
        "device": first["device"],
        "threads": first["threads"],
        "commit": first["commit"],
        "command": first["command"],
        "evaluation_batch_size": some["batch_size"],
        "weights_sha256": {str(k): each["weights_sha256"] for k, each in scored.items()},
        "labeller": {str(k): each["labeller"] for k, each in times.items() if "labeller" in each},
    }


def _shared_evaluation(plan: dict[str, Any], found: dict[int, list[dict[str, Any]]]) -> tuple[str, int, int] | None:
    """(attack, examples, seed) of the claim that most seeds have; AutoAttack first, then more images."""
    counts: defaultdict[tuple[str, int, int], int] = defaultdict(int)
    for evaluations in found.values():
        for each in evaluations:
            if (each["norm"], each["eps"]) == (plan["claim"]["kind"], plan["claim"]["eps"]):
                counts[each["attack"], each["examples"], each["seed"]] += 1
    return max(counts, key=lambda key: (key[0] == "aa", counts[key], key[1], -key[2]), default=None)


def _pick(
    evaluations: list[dict[str, Any]], claim: dict[str, Any], attack: str, examples: int, seed: int
) -> dict[str, Any] | None:
    wanted = (attack, claim["kind"], claim["eps"], examples, seed)
    for each in evaluations:
        if (each["attack"], each["norm"], each["eps"], each["examples"], each["seed"]) == wanted:
            return each
    return None


def to_model_info(row: Row) -> dict[str, Any]:
    """RobustBench's model_info: accuracies and eps as strings; everything of ours under one extra key."""
    clean, robust = row.over_seeds("clean"), row.over_seeds("robust")
    reported = _published(row)
    return {
        "link": row.paper["link"],
        "name": row.paper["title"],
        "authors": row.paper["authors"],
        "additional_data": row.extra == "file",
        "number_forward_passes": 1,
        "dataset": row.dataset,
        "venue": row.paper["venue"],
        "architecture": row.architecture,
        "eps": row.eps,
        "clean_acc": f"{clean.mean:.2f}",
        "reported": f"{robust.mean if reported is None else reported:.2f}",
        "autoattack_acc": f"{robust.mean:.2f}",
        "footnote": " ".join([_setting(row), *row.footnotes()]),
        BOARD_KEY: {
            "format": 1,
            "paper": row.paper,
            "plan": row.plan,
            "fingerprint": row.fingerprint,
            "norm": row.norm,
            "attack": row.attack,
            "examples": row.examples,
            "evaluation_seed": row.evaluation_seed,
            "seeds": {str(seed): values for seed, values in row.per_seed.items()},
            "unfinished": list(row.unfinished),
            "pgd20": {str(seed): value for seed, value in row.pgd20.items()},
            "std": {name: row.over_seeds(name).std for name in ("clean", "robust", "train_seconds")},
            **row.facts,
        },
    }


def _setting(row: Row) -> str:
    return f"Mean over {len(row.per_seed)} seeds, {row.examples:,} test images, {row.profile} profile of robench_fire."


def _published(row: Row) -> float | None:
    """The authors' own robust accuracy for this data set, norm and architecture, where there is one."""
    for each in row.paper["reported"]:
        if (each["dataset"], each["norm"]) == (row.dataset, row.norm) and each["source"].startswith("FIRE"):
            return float(each["robust"])
    return None


def from_model_info(path: Path) -> Row:
    """The row in one of our leaderboard files.

    Raises:
        DataError: if the file is not JSON or has none of our keys.
    """
    info = read_json(path)
    try:
        own = dict(info[BOARD_KEY])
        return Row(
            paper=own.pop("paper"),
            architecture=info["architecture"],
            plan=own.pop("plan"),
            fingerprint=own.pop("fingerprint"),
            norm=own.pop("norm"),
            eps=info["eps"],
            attack=own.pop("attack"),
            examples=own.pop("examples"),
            evaluation_seed=own.pop("evaluation_seed"),
            per_seed={int(seed): values for seed, values in own.pop("seeds").items()},
            unfinished=tuple(own.pop("unfinished")),
            pgd20={int(seed): value for seed, value in own.pop("pgd20").items()},
            facts={name: value for name, value in own.items() if name not in ("format", "std")},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise DataError(f"{path} is not a leaderboard row of ours ({type(fault).__name__}: {fault})") from None


def rows_in(folder: Path) -> list[Row]:
    """The rows of a board (JSON files) or of run folders, whichever lies at ``folder``.

    Raises:
        DataError: if there are none.
    """
    if not folder.exists():
        raise DataError(f"{folder} does not exist; train something first: `robench train fire digits`")
    files = [path for path in sorted(folder.rglob("*.json")) if _is_board_file(path)]
    rows = ranked(from_model_info(path) for path in files) if files else collect(folder)
    if not rows:
        raise DataError(f"no evaluated run at {folder}; train something first: `robench train fire digits`")
    return rows


def _is_board_file(path: Path) -> bool:
    return path.parent.name in ("Linf", "L2") and not path.name.startswith(("plan", "eval"))


def publish(rows: Iterable[Row], board: Path) -> list[Path]:
    """Write each row to board/<dataset>/<norm>/<Key>.json.

    Raises:
        DataError: if two rows claim one file: rows of a board differ in their defense, not in their settings.
    """
    chosen: dict[Path, Row] = {}
    for row in rows:
        path = board / row.dataset / row.norm / f"{row.paper['key']}.json"
        if path in chosen:
            prints = f"{chosen[path].fingerprint} and {row.fingerprint}"
            raise DataError(f"two plans of {row.paper['method']} ({prints}) claim {path}; name one run folder")
        chosen[path] = row
    for path, row in chosen.items():
        write_json(path, to_model_info(row))
    return list(chosen)
