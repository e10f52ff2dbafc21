"""Verdicts on a paper's claims: confirmed, refuted, cannot be told, or not on this board."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.comparison.claim import FEWEST, SHOWN, Claim, Estimate, against, estimate
from robench_fire.comparison.compare import remarks
from robench_fire.comparison.reproduce import NUMERICS
from robench_fire.errors import UsageError
from robench_fire.problem.settings import said_value
from robench_fire.quantity import Quantity
from robench_fire.statistics.paired import holm, seeds_needed

Outcome = Literal["confirmed", "refuted", "cannot be told", "not on this board"]
OUTCOMES: tuple[Outcome, ...] = ("confirmed", "refuted", "cannot be told", "not on this board")
UNITS = {"difference": "points", "ratio": "times the training time", "slope": "points per doubling"}
INSTEAD = {
    "hidden": "Some labels were hidden, in place of further images.",
    "given": "Weights were given to begin from that are not the paper's.",
}


class Verdict(NamedTuple):
    """What became of a claim.

    ``setting``: of the rows that decide, "" where there are none. ``p``, ``adjusted``: of the true value lying on the
    claim's nearest bound, or of a curve that does not turn, and Holm's among all claims of the setting. ``turned``: see
    claim.against. ``more_seeds``: of each row, that would settle it; None where none would, or nothing is to settle.
    ``why``: where there is no estimate. ``family``: the setting itself, over whose claims Holm's correction is.
    """

    claim: Claim
    outcome: Outcome
    setting: str = ""
    made: Estimate | None = None
    turned: Estimate | None = None
    p: float | None = None
    adjusted: float | None = None
    more_seeds: int | None = None
    why: str = ""
    family: tuple[Any, ...] = ()

    @property
    def interval(self) -> tuple[float, float, float] | None:
        """The estimate and its 95 % interval, in the claim's unit."""
        if self.made is None:
            return None
        found = self.made.found
        values = found.value, found.low, found.high
        return tuple(map(math.exp, values)) if self.claim.test == "ratio" else values  # type: ignore[return-value]


def decide(claims: Iterable[Claim], rows: Sequence[Row]) -> list[Verdict]:
    """Each claim in each setting that has its rows; once as "not on this board" where none has.

    Raises:
        DataError: if a mask is broken.
    """
    settings: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        settings[_setting(row)].append(row)
    first = [verdict for claim in claims for verdict in _everywhere(claim, list(settings.values()), rows)]
    adjusted: dict[int, float] = {}
    for family in dict.fromkeys(each.family for each in first):
        numbers = [at for at, each in enumerate(first) if each.family == family and each.p is not None]
        ps = [float(first[at].p or 0.0) for at in numbers]
        adjusted |= dict(zip(numbers, holm(ps), strict=True))
    return [_settled(each, adjusted[at]) if at in adjusted else each for at, each in enumerate(first)]


def _setting(row: Row) -> tuple[Any, ...]:
    """What rows share that a claim may compare: all but the method and its coefficients."""
    by_hand = {
        path: value for path, value in row.facts["by_hand"].items()
        if not path.startswith("defense.") and path not in NUMERICS
    }  # fmt: skip
    attacked = row.dataset, row.images, row.norm, float(Quantity(row.eps)), row.attack, row.examples
    trained_at = float(Quantity(row.plan["threat"]["eps"]))
    return *attacked, row.evaluation_seed, trained_at, row.architecture, row.profile, str(sorted(by_hand.items()))


def _everywhere(claim: Claim, settings: Sequence[Sequence[Row]], rows: Sequence[Row]) -> list[Verdict]:
    """The claim in every setting that has all of its rows."""
    found = [[which.among(group) for which in claim.rows] for group in settings]
    if complete := [(each, _setting(group[0])) for each, group in zip(found, settings, strict=True)
                    if _complete(claim, each)]:  # fmt: skip
        return [_measured(claim, each)._replace(family=family) for each, family in complete]
    if most := max((_values(claim, each) for each in found), default=0):
        return [Verdict(claim, "not on this board", why=f"a trend needs {FEWEST} values, here is {most}")]
    absent = [which.name for which in claim.rows if not which.among(rows)]
    why = f"no row of {' and '.join(absent)}" if absent else "its rows are not of one setting"
    return [Verdict(claim, "not on this board", why=why)]


def _complete(claim: Claim, found: Sequence[Sequence[Row]]) -> bool:
    """Whether one setting's rows are all that a claim is about."""
    return _values(claim, found) >= FEWEST if claim.order is not None else all(found)


def _values(claim: Claim, found: Sequence[Sequence[Row]]) -> int:
    """Of how many values of what it orders by a claim has rows."""
    return len({claim.order(row) for each in found for row in each} - {0.0}) if claim.order is not None else 0


def _measured(claim: Claim, found: Sequence[Sequence[Row]]) -> Verdict:
    setting = _said(found[0][0])
    if claim.order is None and (several := [each for each in found if len(each) > 1]):
        names = " and ".join(row.name for row in several[0])
        return Verdict(claim, "not on this board", setting, why=f"several rows are meant: {names}")
    try:
        made = estimate(claim, [row for each in found for row in each])
    except UsageError as fault:
        return Verdict(claim, "cannot be told", setting, why=str(fault))
    if made.found.seed_part is None:
        return Verdict(claim, "cannot be told", setting, made)
    turned = against(claim, made)
    p = turned.found.p if turned else made.found.beyond(_nearest(claim, made)).p
    return Verdict(claim, "cannot be told", setting, made, turned, p)


def _nearest(claim: Claim, made: Estimate) -> float:
    """The bound of a claim that is nearest to an estimate: the one that it is decided at."""
    return min((each for each in claim.bounds if math.isfinite(each)), key=lambda at: abs(made.found.value - at))


def _settled(each: Verdict, adjusted: float) -> Verdict:
    """With the outcome that Holm's p value allows."""
    assert each.made is not None
    found, (low, high) = each.made.found, each.claim.bounds
    if adjusted < SHOWN:
        holds = low < found.value < high and each.turned is None
        return each._replace(outcome="confirmed" if holds else "refuted", adjusted=adjusted)
    more = seeds_needed(found.beyond(_nearest(each.claim, each.made))) if _open(each) else None
    return each._replace(adjusted=adjusted, more_seeds=more)


def _said(row: Row) -> str:
    """A setting in words."""
    hand = [f"{path.removeprefix('recipe.')} {said_value(value)}" for path, value in row.facts["by_hand"].items()
            if not path.startswith("defense.")]  # fmt: skip
    attack = "" if row.attack == "aa" else "PGD-20"
    parts = [f"{row.dataset} {row.norm} {row.eps}", row.architecture, f"{row.examples:,} test images", attack]
    return ", ".join(filter(None, [*parts, row.profile if row.profile != "matched" else "", *hand]))


def notes(each: Verdict) -> list[str]:
    """What a reader must know of a verdict."""
    if each.made is None:
        return []
    said = ["By itself it would be decided; among so many claims it is not."] if _alone(each) else []
    if each.turned is not None:
        said.append(_turn(each.turned))
    robust = each.claim.test != "ratio" and each.claim.metric != "clean"
    if each.made.found.seed_part is None:
        said.append("A row has a single seed: the interval is over images alone, and says nothing of training.")
    if not each.made.paired and each.claim.test != "ratio":
        said.append("Without masks the interval is over seeds alone, not over images.")
    for row in each.made.rows:
        said += [note for note in remarks(row) if robust or "unreliable" not in note]
        if row.extra in INSTEAD:
            said.append(INSTEAD[row.extra])
    return list(dict.fromkeys(said))


def _turn(turned: Estimate) -> str:
    first, later = turned.rows
    found = turned.found
    return f"It turns: from {first.name} to {later.name} it is {found.value:+.2f} ± {found.half:.2f} points."


def _alone(each: Verdict) -> bool:
    """Whether a claim would be decided if there were no others."""
    return each.outcome == "cannot be told" and each.p is not None and each.p < SHOWN


def _open(each: Verdict) -> bool:
    """Whether more seeds could be asked for."""
    return each.outcome == "cannot be told" and each.p is not None and not _alone(each)


def needed(each: Verdict) -> str:
    """How many seeds of each row would tell, in a cell of a table."""
    return "" if not _open(each) else "> 100" if each.more_seeds is None else str(each.more_seeds)


def _lacking(each: Verdict) -> str:
    """The same in a sentence."""
    if not _open(each) or each.made is None:
        return ""
    if each.more_seeds is None:
        return "100 seeds of each would not settle it" + " on these images; more might" * each.made.paired + "."
    return f"A value like this would be settled (4 times of 5) by {each.more_seeds} seeds of each."


def size(each: Verdict) -> str:
    """The estimate and its interval."""
    if each.interval is None:
        return "–"
    value, low, high = each.interval
    sign = "" if each.claim.test == "ratio" else "+"
    return f"{value:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


def sentence(each: Verdict) -> str:
    """The verdict, for a reader who wants one line."""
    if each.made is None:
        return f"{each.claim.says}: {each.outcome}; {each.why}."
    found = each.made.found
    counts = sorted(set(found.seeds))
    seeds = f"{' or '.join(map(str, counts))} seed{'s' * (counts != [1])}"
    basis = f"95 %, {seeds}" + ("" if each.claim.test == "ratio" else f", {found.images:,} images")
    said = f"{each.claim.says}: {each.outcome}; {size(each)} {UNITS[each.claim.test]} ({basis})."
    return " ".join(filter(None, [said, _lacking(each), *notes(each)]))


def as_plain(each: Verdict) -> dict[str, Any]:
    """For JSON."""
    claim, found = each.claim, each.made.found if each.made else None
    finite = [bound if math.isfinite(bound) else None for bound in (claim.low, claim.high)]
    value, *interval = each.interval or (None,)
    return {
        "claim": claim.name, "says": claim.says, "source": claim.source, "published": claim.published,
        "test": claim.test, "metric": "train_seconds" if claim.test == "ratio" else claim.metric,
        "holds_between": finite, "verdict": each.outcome, "setting": each.setting,
        "rows": [{"name": row.name, "plan": row.fingerprint} for row in each.made.rows] if each.made else [],
        "value": value, "interval": interval or None, "p": each.p, "p_holm": each.adjusted,
        "seeds": list(found.seeds) if found else None, "images": found.images if found else None,
        "seeds_needed": each.more_seeds, "why": each.why, "notes": notes(each), "sentence": sentence(each),
    }  # fmt: skip
