"""Whether rows reach what was published of their methods: ours beside theirs, with a tolerance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.comparison.fire_claims import STRENGTHS
from robench_fire.models.names import display_name
from robench_fire.problem.settings import said_value
from robench_fire.quantity import Quantity, same
from robench_fire.runs.filters import has
from robench_fire.statistics.summary import MeanStd, mean_std

Outcome = Literal["reproduced", "different", "not comparable"]
Measure = Literal["clean", "robust"]
TESTED = 10_000  # images of every test set that figures are published of, all of which were attacked
TRIES = 5  # seeds behind a published spread
NUMERICS = ("recipe.precision", "recipe.attack_precision")  # by hand, and yet the same recipe
OWN = "FIRE"  # whose tables have their own method as the text describes it, others by their authors' code


class Reproduction(NamedTuple):
    """A figure of ours beside a published one, in percentage points.

    ``tolerance``: twice the spread of a training and of the choice of
    images, None where no spread is known. ``reasons``: why they do not compare. ``notes``: what a reader must know.
    """

    row: Row
    source: str
    arch: str
    measure: Measure
    ours: MeanStd
    theirs: MeanStd
    tolerance: float | None
    outcome: Outcome
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def difference(self) -> float:
        return self.ours.mean - self.theirs.mean


def reproduce(rows: Sequence[Row]) -> list[Reproduction]:
    """Clean and robust accuracy of each row beside every published figure for its data set and norm."""
    return [
        _beside(row, entry, measure)
        for row in rows for entry in row.paper["reported"]
        if (entry["dataset"], entry["norm"]) == (row.dataset, row.norm)
        for measure in ("clean", "robust")
    ]  # fmt: skip


def _beside(row: Row, entry: Mapping[str, Any], measure: Measure) -> Reproduction:
    std = entry[f"{measure}_std"]
    theirs = MeanStd(entry[measure], std, 1 if std is None else TRIES)
    ours, eps = _ours(row, entry, measure)
    tolerance = _tolerance(ours, theirs, row.examples)
    reasons = [*_reasons(row, entry), *(_under_attack(row, entry, eps) if measure == "robust" else [])]
    if tolerance is None:
        reasons.append("spread: a single seed of ours, and none published")
    near = tolerance is not None and abs(ours.mean - theirs.mean) <= tolerance
    outcome: Outcome = "not comparable" if reasons else "reproduced" if near else "different"
    return Reproduction(row, entry["source"], entry["arch"], measure, ours, theirs, tolerance, outcome,
                        tuple(reasons), tuple(_notes(row, theirs, measure)))  # fmt: skip


def _radius(row: Row, entry: Mapping[str, Any]) -> str:
    return str(entry["eps"] or row.facts["usual_eps"])


def _ours(row: Row, entry: Mapping[str, Any], measure: Measure) -> tuple[MeanStd, str]:
    """Our accuracy, and at which radius: at that of the training where the published figure is of it, as of 0.031."""
    there, trained = row.facts.get("at_training_radius", {}), str(row.plan["threat"]["eps"])
    known = set(there) == {str(seed) for seed in row.per_seed} and same(trained, _radius(row, entry))
    if measure == "robust" and known:
        return mean_std(list(there.values())), trained
    return row.over_seeds(measure), row.eps


def _tolerance(ours: MeanStd, theirs: MeanStd, images: int) -> float | None:
    """Twice the standard deviation of a training, pooled, and of the choice of our images among theirs."""
    known = [(each.n - 1, each.std) for each in (ours, theirs) if each.std is not None]
    if not known:
        return None
    pooled = sum(df * std**2 for df, std in known) / sum(df for df, _ in known)
    share = ours.mean / 100
    chosen = 100**2 * share * (1 - share) / images * max(1 - images / TESTED, 0.0)
    return 2 * math.sqrt(pooled + chosen)


def _reasons(row: Row, entry: Mapping[str, Any]) -> list[str]:
    """What was trained in another way."""
    recipe, found = row.plan["recipe"], []
    if recipe["arch"] != entry["arch"]:
        found.append(f"architecture: {display_name(recipe['arch'])}, not {display_name(entry['arch'])}")
    trained = row.plan["threat"]["eps"]
    if not _near(trained, _radius(row, entry)):
        found.append(f"eps: trained at {trained}, not {_radius(row, entry)}")
    profiles = _profiles(row, entry["source"])
    if row.profile not in profiles:
        found.append(f"recipe: {row.profile} profile, not {' or '.join(profiles)}")
    found += [_by_hand(path, value) for path, value in row.facts["by_hand"].items()
              if path not in NUMERICS and not _read_so(row, entry["source"], path)]  # fmt: skip
    return found + _data(row, bool(entry["extra_data"]))


def _near(one: str, other: str) -> bool:
    """0.031 and 8/255 are, as radii to train at: the FIRE paper trains at the one and claims the other."""
    return abs(Quantity(one) - Quantity(other)) <= 0.02 * max(Quantity(one), Quantity(other))


def _by_hand(path: str, value: Any) -> str:
    what, _, name = path.partition(".")
    said = said_value(value)
    return f"epochs: {said} by hand" if name == "epochs" else f"{what}: {name} {said} by hand"


def _profiles(row: Row, source: str) -> tuple[str, ...]:
    """Which profiles do what a source did: one set of settings for all, or each method's own code."""
    if not source.startswith(OWN):
        return ("official",)
    if row.paper["method"].startswith(OWN):
        return ("matched", "official")  # the paper's text, and its code
    return ("official",) if source.endswith("Table 2") else ("matched",)


def _read_so(row: Row, source: str, path: str) -> bool:
    """Whether a coefficient by hand is one of the readings of what the paper did."""
    readings = [reading for reading in STRENGTHS.values() if all(has(row.plan, *each) for each in reading)]
    return source.startswith(OWN) and any(path == name for reading in readings for name, _ in reading)


def _data(row: Row, more: bool) -> list[str]:
    """What was trained on other images."""
    if row.extra == "hidden":
        return ["data: some labels hidden, no further images" if more else "data: some labels hidden"]
    if row.extra == "given":
        return ["data: began from given weights, which may be other ones than theirs"]
    if more != (row.extra == "file"):
        return ["data: no further images" if more else "data: further images"]
    return []


def _under_attack(row: Row, entry: Mapping[str, Any], eps: str) -> list[str]:
    """What was attacked in another way."""
    wanted = _radius(row, entry)
    attack = [] if row.attack == "aa" else ["attack: PGD-20, not AutoAttack"]
    return attack if same(eps, wanted) else [*attack, f"eps: attacked at {eps}, not {wanted}"]


def _notes(row: Row, theirs: MeanStd, measure: Measure) -> list[str]:
    found = []
    if len(row.per_seed) < 2:
        found.append("A single seed of ours: the tolerance is from the published spread alone.")
    if theirs.std is None:
        found.append("A single published model: the tolerance is from our spread alone.")
    if row.examples < TESTED:
        found.append(f"On {row.examples:,} test images, not {TESTED:,}: their choice is in the tolerance.")
    if measure == "robust" and row.verdict == "unreliable":
        found.append(f"AutoAttack's result for {row.name} is unreliable.")
    if row.unfinished:
        found.append(f"{row.name} lacks seed {', '.join(map(str, row.unfinished))}.")
    if row.extra == "file":
        found.append("Whether the further images are theirs is not known.")
    return found


def as_plain(each: Reproduction) -> dict[str, Any]:
    """For JSON."""
    row = each.row
    return {
        "row": {"name": row.name, "plan": row.fingerprint}, "dataset": row.dataset, "norm": row.norm,
        "source": each.source, "architecture": display_name(each.arch), "metric": each.measure,
        "ours": each.ours._asdict(), "theirs": each.theirs._asdict(), "difference": each.difference,
        "tolerance": each.tolerance, "verdict": each.outcome, "reasons": list(each.reasons), "notes": list(each.notes),
    }  # fmt: skip
