"""Rows: what a plan's seeds reached, collected from run folders. Plain JSON; imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from robench_fire.boards import corrupted, training_notes, united, worst
from robench_fire.errors import DataError
from robench_fire.evaluation.reliability_text import READ, reworded
from robench_fire.problem.settings import plan_fingerprint, said_value
from robench_fire.quantity import same
from robench_fire.runs.evaluations import alone, pick, shared_evaluation
from robench_fire.runs.folders import MORE_DATA, PLAN, SEEDS, Run, extra_of, find, images_of
from robench_fire.statistics.summary import MeanStd, mean_std

SMALLER_EPS = "Uses ℓ∞ = 0.031 ≈ 7.9/255 instead of 8/255."  # RobustBench's footnote for it
SETTINGS = {"versions": "packages", "device": "devices", "commit": "commits", "code": "code"}  # and as they are said
UNJUDGED = {"verdict": "unknown", "reasons": ["not judged"]}
COST = ("flops", "energy_joules", "images_per_second", "mfu", "peak_memory_bytes")  # of train.json, for `--cost`


@dataclass(frozen=True, kw_only=True)
class Row:
    """One plan, summarised over its seeds.

    ``per_seed``: for each seed "clean", "robust" and "train_seconds". ``attack``: "aa" or "pgd20", what ``robust``
    means. ``unfinished``: seeds that have no such evaluation yet. ``label``: what tells it from others of its method,
    see labels.labelled. Everything else is as recorded.
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
    label: str = ""

    @property
    def name(self) -> str:
        """What it is called: by the user, or by what tells it from others, or as its paper calls the method."""
        return str(self.facts.get("label") or self.label or self.paper["method"])

    def over_seeds(self, measure: str) -> MeanStd:
        return mean_std([values[measure] for _, values in sorted(self.per_seed.items())])

    def mean(self, measure: str) -> float:
        """The mean alone, which takes a tenth of the time."""
        return fmean([values[measure] for _, values in sorted(self.per_seed.items())])

    @property
    def average(self) -> MeanStd:
        """(clean + robust) / 2 per seed, as in the FIRE paper."""
        return mean_std([(v["clean"] + v["robust"]) / 2 for _, v in sorted(self.per_seed.items())])

    @property
    def dataset(self) -> str:
        return str(self.plan["dataset"])

    @property
    def images(self) -> str:
        """See images_of."""
        return images_of(self.plan)

    @property
    def profile(self) -> str:
        return str(self.plan["profile"])

    @property
    def extra(self) -> str:
        """What beyond the data set it was trained with, see extra_of."""
        return extra_of(self.plan)

    def settings(self, name: str) -> set[str]:
        """Every value of a fact of the training sessions ("commit", "device", "versions"), as text."""
        return {str(session.get(name, "")) for sessions in self.facts["sessions"].values() for session in sessions}

    @property
    def trained_here(self) -> bool:
        """Whether its training is known; of evaluated checkpoints it is not."""
        return all("train_seconds" in values for values in self.per_seed.values())

    @property
    def verdict(self) -> str:
        """Of the evaluations of all seeds: "unreliable" if one is, "reliable" if all are, else "unknown"."""
        found = {each["verdict"] for each in self.facts["verdicts"].values()}
        return "unreliable" if "unreliable" in found else "reliable" if found == {"reliable"} else "unknown"

    def published(self, source: str) -> dict[str, Any] | None:
        """The published entry whose source begins with ``source`` and whose setting is this row's.

        The same data set, norm, usual radius and use of extra data; the network may be another one. FIRE's Table 1
        trains with one set of hyperparameters (as our matched profile), its Table 2 with each method's own.
        """
        own = self.profile == "official"
        wanted = (self.dataset, self.norm, self.extra in MORE_DATA)
        for each in sorted(self.paper["reported"], key=lambda entry: own != entry["source"].endswith("Table 2")):
            if (each["dataset"], each["norm"], each["extra_data"]) == wanted and each["source"].startswith(source):
                return dict(each) if self.eps == self.facts["usual_eps"] and self.extra != "hidden" else None
        return None

    def _there(self) -> str:
        """What AutoAttack leaves at the radius of the training, where every seed was evaluated there."""
        found = self.facts.get("at_training_radius", {})
        every = set(found) == {str(seed) for seed in self.per_seed}
        return f", where AutoAttack leaves {mean_std(list(found.values()))}" if every else ""

    def _failed(self) -> list[str]:
        """Which seeds' training failed though it ended, and how."""
        signs = {seed: "; ".join(wrong) for seed, wrong in self.facts.get("signs", {}).items()}
        alike = {text: [seed for seed, wrong in signs.items() if wrong == text] for text in signs.values()}
        return [f"Seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}: {text}." for text, seeds in alike.items()]

    @property
    def hidden(self) -> str:
        """What a reader must know of a row whose labels were hidden."""
        share = self.plan["recipe"]["extra"]["hidden"]
        how = "hidden, and those images pseudo-labelled by a standard classifier trained on the rest."
        return f"No extra data: the labels of {share:.0%} of the training images were {how}"

    def footnotes(self) -> list[str]:
        """What a reader must know before comparing this row with another one."""
        notes = [self.hidden] if self.extra == "hidden" else []
        if len(self.per_seed) < SEEDS:
            notes.append(f"{len(self.per_seed)} of {SEEDS} seeds.")
        if self.unfinished:
            notes.append(f"Seed {', '.join(map(str, self.unfinished))} not trained to the end, or not evaluated alike.")
        if self.attack != "aa":
            notes.append("Robust accuracy is PGD-20, not AutoAttack.")
        if few := self.facts.get("evaluator", {}).get("attacks"):
            lacking = "its targeted DLR loss needs" if "apgd-dlr" in few else "its DLR losses need"
            notes.append(f"AutoAttack of {', '.join(few)}: {lacking} more classes than this data set has.")
        notes += training_notes.notes(self.plan, self.facts)
        if self.plan["threat"]["eps"] != self.eps:
            notes.append(f"Trained at eps {self.plan['threat']['eps']}{self._there()}.")
        notes += training_notes.given(self.plan)
        if (self.norm, self.eps) == ("Linf", "0.031"):
            notes.append(SMALLER_EPS)
        differing = [in_words for name, in_words in SETTINGS.items() if len(self.settings(name)) > 1]
        if differing:
            notes.append(f"Its seeds were trained with different {' and '.join(differing)}.")
        notes += [*self._failed(), *worst.notes(self.facts), *united.notes(self.facts), *corrupted.notes(self.facts)]
        for seed, found in self.facts["verdicts"].items():
            if found["verdict"] == "unreliable":
                notes.append(f"Unreliable, seed {seed}: {'. '.join(map(reworded, found['reasons']))} ({READ}).")
        if self.verdict == "unknown" and self.attack == "aa":
            notes.append(f"Whether AutoAttack's result can be believed is not known ({READ}).")
        if own := self.facts.get("departures"):  # rows of before this was recorded have none
            changed = ", ".join(
                f"{path} {said_value(value)} (shared: {said_value(shared)})" for path, (value, shared) in own.items()
            )
            notes.append(f"{self.paper['method']}'s own setting{'s' * (len(own) > 1)}: {changed}.")
        if self.facts["by_hand"]:
            changed = ", ".join(f"{path} {said_value(value)}" for path, value in self.facts["by_hand"].items())
            notes.append(f"Not the {self.profile} recipe: {changed}.")
        return notes


def collect(folder: Path, eps: str = "") -> list[Row]:
    """One row per plan that has an evaluated seed at or below ``folder``, best robust accuracy first.

    ``eps``: claim this radius instead of the one that the plan claims.
    """
    plans: defaultdict[Path, list[Run]] = defaultdict(list)
    for run in find(folder):
        plans[run.folder.parent].append(run)
    rows = [row for path, runs in plans.items() if (row := _row(path.name, runs, eps)) is not None]
    return ranked(rows)


def ranked(rows: Iterable[Row]) -> list[Row]:
    """By data set, norm and radius, then AutoAttack before PGD-20, then robust accuracy."""

    def place(row: Row) -> tuple[Any, ...]:
        return row.dataset, row.norm, row.eps, row.attack, -row.mean("robust"), row.paper["method"]

    return sorted(rows, key=place)


def _row(fingerprint: str, runs: list[Run], eps: str) -> Row | None:
    trained = {run.seed: run for run in runs if run.trained}
    found = {seed: run.evaluations() for seed, run in trained.items()}
    if not any(found.values()):
        return None
    plan, *_ = [_plan(fingerprint, run) for run in trained.values()]
    claim = plan["claim"] | ({"eps": eps} if eps else {})
    chosen = shared_evaluation(claim, found)
    if chosen is None:
        return None
    attack, examples, seed, *_ = chosen
    scored = {k: each for k, all_ in found.items() if (each := pick(all_, claim, chosen)) is not None}
    quick = {k: each["robust"] for k in scored if (each := pick(found[k], claim, ("pgd20", *chosen[1:]))) is not None}
    times = {k: trained[k].read("train.json") for k in scored}
    first = trained[min(scored)].read("provenance.json")
    there = {str(k): each for k in sorted(scored) if (each := pick(found[k], plan["threat"], ("aa", *chosen[1:])))}
    elsewhere = {k: each["robust"] for k, each in there.items() if not same(each["eps"], claim["eps"])}
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
            k: {"clean": each["clean"], "robust": each["robust"], "train_seconds": _training_seconds(times[k])}
            for k, each in sorted(scored.items())
        },
        unfinished=tuple(sorted({run.seed for run in runs} - set(scored))),
        pgd20=quick,
        facts=_facts(first, {k: trained[k].read("provenance.json")["sessions"] for k in sorted(scored)}, scored, times)
        | {
            "at_training_radius": elsewhere,
            "attacks": alone(trained, scored, claim, chosen),
            **(worst.facts(trained, scored) | corrupted.facts(trained, scored) | united.facts(trained, scored, found)),
        },
    )


def _plan(fingerprint: str, run: Run) -> dict[str, Any]:
    """A seed's plan, if it is the one that its folder is called by.

    Raises:
        DataError: if it was changed, or the seed is another plan's.
    """
    plan = run.read(PLAN)
    if (own := plan_fingerprint(plan)) != fingerprint:
        raise DataError(
            f"{run.folder / PLAN} is of plan {own}, and lies among the seeds of {fingerprint}; move it away"
        )
    return plan


def _training_seconds(facts: dict[str, Any]) -> float:
    """Training a defense includes training its pseudo-labeller."""
    return float(facts["seconds"] + facts.get("labeller", {}).get("seconds", 0.0))


def _facts(
    first: dict[str, Any],
    sessions: dict[int, list[dict[str, Any]]],
    scored: dict[int, dict[str, Any]],
    times: dict[int, dict[str, Any]],
) -> dict[str, Any]:
    """What a stranger needs to redo the row, beside the plan."""
    failed = {str(k): each["signs"] for k, each in sorted(times.items()) if "signs" in each}
    return ({"signs": failed} if failed else {}) | {
        **training_notes.added(times),
        "by_hand": first["by_hand"],
        "departures": first.get("departures", {}),
        "usual_eps": first["usual_eps"],
        "sessions": {str(k): value for k, value in sessions.items()},
        "evaluation_batch_size": next(iter(scored.values()))["batch_size"],
        **({"evaluation_order": order} if (order := next(iter(scored.values())).get("order")) else {}),
        "evaluator": _evaluator(scored),
        "flags": sorted({flag for each in scored.values() for flag in each.get("flags", [])}),
        "verdicts": {
            str(k): {name: each.get("reliability", UNJUDGED)[name] for name in UNJUDGED}
            for k, each in sorted(scored.items())
        },
        "evaluation_seconds": {str(k): each["seconds"] for k, each in sorted(scored.items()) if "seconds" in each},
        "images_sha256": sorted({each["images_sha256"] for each in scored.values() if "images_sha256" in each}),
        "weights_sha256": {str(k): each["weights_sha256"] for k, each in sorted(scored.items())},
        "masks_sha256": {str(k): each["masks_sha256"] for k, each in sorted(scored.items()) if "masks_sha256" in each},
        "evaluation_code": sorted({each["code"] for each in scored.values() if "code" in each}),
        "labeller": {str(k): each["labeller"] for k, each in sorted(times.items()) if "labeller" in each},
        "cost": {str(k): _cost(each) for k, each in sorted(times.items()) if each.get("flops") is not None},
    }


def _cost(facts: dict[str, Any]) -> dict[str, float | None]:
    """What a seed's training took, beside its time; arithmetic includes its pseudo-labeller's, as time does."""
    found = {name: facts.get(name) for name in COST}
    return found | {"flops": facts["flops"] + facts.get("labeller", {}).get("flops", 0)}


def _evaluator(scored: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Which attacks these were, on which machines, and the interval of each seed's robust accuracy."""
    versions = {str(each.get("version", "")) for each in scored.values()}
    intervals = {str(k): each.get("robust_interval") for k, each in sorted(scored.items())}
    machines = sorted({machine for each in scored.values() for machine in each.get("machines", [])})
    found = {"attack_version": ", ".join(sorted(versions)), "machines": machines, "robust_intervals": intervals}
    first = next(iter(scored.values()))
    few = first["attack"] == "aa" and "apgd-t" not in first.get("after", ["apgd-t"])
    return found | ({"attacks": list(first["after"])} if few else {})
