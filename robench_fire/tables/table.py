"""Entries that may be compared with each other, as one table of text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from robench_fire.quantity import Quantity
from robench_fire.statistics.summary import MeanStd, tied
from robench_fire.tables import cost_columns
from robench_fire.tables.entries import OURS, PUBLISHED, Entry, beside

ALONE = {"FGSM": "fgsm", "PGD-20 CW": "pgd20-cw", "Square": "square", "Transfer": "transfer"}
"""Columns of attacks that are run by themselves, beside PGD-20 and AutoAttack."""
NUMBERS = {"Clean", "AutoAttack", "PGD-20", "Average", "Train time", "#", "Seeds", "FIRE paper", "RobustBench",
           "Val. clean", "Val. robust",
           *ALONE, *cost_columns.COLUMNS}  # fmt: skip
"""Columns that are set to the right."""
MEASURES = {"Clean": "clean", "AutoAttack": "robust", "Average": "average"}
"""Columns of which the best values are set in bold."""


_BY_ITSELF = (
    "White box: FGSM, PGD-20 (CW: on the margin of logits), AutoAttack. Black box: Square alone, and Transfer, the "
    "images that PGD-20 finds on independently trained standard networks. Each attack is run by itself."
)


class Table(NamedTuple):
    """``cells``: a text per column for each of ``entries``. ``ranks``: the place of each, see ``tables``.

    ``best``: for each entry, the columns where it is best or as good within noise. ``marks``: for each entry, the
    numbers of its notes; ``notes`` counted from 1, ``remarks`` about the whole table, among them the notes that all
    of its own rows share.
    """

    title: str
    columns: list[str]
    cells: list[list[str]]
    entries: list[Entry]
    ranks: list[int]
    best: list[set[str]]
    marks: list[list[int]]
    notes: list[str]
    remarks: list[str]


def tables(
    entries: Iterable[Entry], paper: bool = False, published: bool = False, cost: bool = False, attacks: bool = False
) -> Iterator[Table]:
    """One table per data set, norm, radius, number of test images and evaluation seed: only such entries compare.

    ``paper``: columns with what the paper and RobustBench report for the same setting. ``published``: also the
    published entries that compare; then a rank is a place among those, and ours have the rank that they would take.
    ``cost``: columns with what a seed cost, in place of those that describe the training; ``attacks``: with what each
    attack by itself leaves, likewise.
    """

    def setting(entry: Entry) -> tuple[str, str, float, int, int]:
        return entry.dataset, entry.norm, float(Quantity(entry.eps)), entry.examples, entry.evaluation_seed

    for _, group in groupby(sorted(entries, key=setting), key=setting):
        measured = list(group)
        yield _table(measured, beside(measured) if published else [], paper, published, cost, attacks)


def _table(measured: list[Entry], published: list[Entry], paper: bool, asked: bool, cost: bool, attacks: bool) -> Table:
    first = measured[0]
    title = f"{first.dataset}, {first.norm}, eps {first.eps}, {first.examples:,} test images"
    if first.evaluation_seed:
        title += f", evaluation seed {first.evaluation_seed}"
    entries = sorted([*measured, *published], key=lambda entry: (entry.robust is None, -entry.score, entry.method))
    ranks = [1 + sum(_above(other, entry, bool(published)) for other in entries) for entry in entries]
    columns = _columns(measured, paper, cost, attacks)
    shared = _shared([entry for entry in measured if entry.origin == OURS])
    marked = [
        [note for note in entry.notes if entry.origin != OURS or note not in shared] + apart
        for entry, apart in zip(entries, _apart(entries), strict=True)
    ]
    notes = list(dict.fromkeys(note for each in marked for note in each))
    marks = [sorted(notes.index(note) + 1 for note in each) for each in marked]
    cells = []
    for entry, rank, own in zip(entries, ranks, marks, strict=True):
        values = _values(entry, rank, own, bool(published)) | (cost_columns.texts(entry) if cost else {})
        cells.append([values[column] for column in columns])
    others = any(entry.origin != OURS for entry in entries)
    remarks = [f"Every row{' of ours' * others}: {note}" for note in shared] + _bold(entries)
    remarks += (_remarks(published, first) if asked else []) + (cost_columns.remarks(measured) if cost else [])
    remarks += [_BY_ITSELF] if attacks else []
    return Table(title, columns, cells, entries, ranks, best(entries), marks, notes, remarks)


def _shared(ours: Sequence[Entry]) -> list[str]:
    """The notes that all of several entries have."""
    return [note for note in ours[0].notes if all(note in entry.notes for entry in ours)] if len(ours) > 1 else []


def _bold(entries: Sequence[Entry]) -> list[str]:
    """The rule by which values are set in bold, where some are or unreliability keeps all from it."""
    left_out = " A row whose AutoAttack result is unreliable is left out of it." if any(map(_doubtful, entries)) else ""
    if len(entries) < 2 or not (any(best(entries)) or left_out):
        return []
    return [f"Bold: the best of a column, and what cannot be told from it (Welch's t-test over seeds, 5 %).{left_out}"]


def _apart(entries: Sequence[Entry]) -> list[list[str]]:
    """For each entry, a note that tells it from the same plan, measured here and elsewhere: where it is from."""
    places: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.row:
            places[entry.method].add(entry.place)
    return [
        [f"This {entry.method}: from {entry.place}."] if len(places[entry.method]) > 1 and entry.row else []
        for entry in entries
    ]


def _above(other: Entry, entry: Entry, published: bool) -> bool:
    """Whether ``other`` counts in the rank of ``entry`` and is better."""
    if published and other.origin != PUBLISHED:
        return False
    return other is not entry and (entry.robust is None, -entry.score) > (other.robust is None, -other.score)


def _columns(measured: Sequence[Entry], paper: bool, cost: bool, attacks: bool) -> list[str]:
    without_aa = any(entry.robust is None and entry.pgd20 is not None for entry in measured)
    profiles = any(entry.profile not in ("", "matched") for entry in measured)
    first = ["#", "Method", "Architecture", "Clean", "AutoAttack", *(["PGD-20"] if without_aa else [])]
    reported = ["FIRE paper", "RobustBench"] if paper else []
    if attacks:
        known = [column for column, name in ALONE.items() if any(entry.alone(name) for entry in measured)]
        white = ["#", "Method", "Clean", *(column for column in ("FGSM",) if column in known), "PGD-20"]
        return [*white, *(column for column in ("PGD-20 CW",) if column in known), "AutoAttack",
                *(column for column in ("Square", "Transfer") if column in known), *reported]  # fmt: skip
    if cost:
        return [*first, *cost_columns.columns(measured), *reported]
    return [*first, "Average", "Seeds", "Train time", "Extra data", *(["Profile"] if profiles else []), *reported]


def _values(entry: Entry, rank: int, marks: Sequence[int], published: bool) -> dict[str, str]:
    """Every column's text."""
    ours = " (ours)" if published and entry.origin == OURS else ""
    return {
        "#": str(rank),
        "Method": entry.method + ours + (f" [{','.join(map(str, marks))}]" if marks else ""),
        "Architecture": entry.architecture or "–",
        "Clean": f"{entry.clean}",
        "AutoAttack": _text(entry.robust),
        "PGD-20": _text(entry.pgd20),
        "Average": _text(entry.average),
        **{column: _text(entry.alone(name)) for column, name in ALONE.items()},
        "Seeds": entry.seeds,
        "Train time": _duration(entry.train_seconds),
        "Extra data": {"file": "yes", "hidden": "hidden labels", "given": "given weights"}.get(entry.extra, "no"),
        "Profile": entry.profile or "–",
        "FIRE paper": entry.reported.get("FIRE paper", "–"),
        "RobustBench": entry.reported.get("RobustBench", "–"),
    }


def _text(value: MeanStd | None) -> str:
    return "–" if value is None else f"{value}"


def _duration(seconds: MeanStd | None) -> str:
    if seconds is None:
        return "–"
    if seconds.mean < 120:
        return f"{seconds:.1f} s"
    scaled = 3600 if seconds.mean >= 2 * 3600 else 60
    unit = "h" if scaled == 3600 else "min"
    spread = None if seconds.std is None else seconds.std / scaled
    return f"{MeanStd(seconds.mean / scaled, spread, seconds.n):.1f} {unit}"


def best(entries: Sequence[Entry]) -> list[set[str]]:
    """For each entry the columns of MEASURES where it has the best value that can be believed, or one tied with it."""
    found: list[set[str]] = [set() for _ in entries]
    for column, name in MEASURES.items():
        known = {
            number: value for number, entry in enumerate(entries)
            if (value := getattr(entry, name)) is not None and not (column != "Clean" and _doubtful(entry))
        }  # fmt: skip
        top = max(known.values(), key=lambda value: value.mean, default=None)
        if top is None or len(known) < 2:
            continue
        for number, value in known.items():
            if value is top or tied(top, value):
                found[number].add(column)
    return found


def _doubtful(entry: Entry) -> bool:
    """Whether AutoAttack's result is unreliable, or another attack is known to break more."""
    known = entry.best_known is not None and entry.robust is not None and entry.best_known < entry.robust.mean
    return known or bool(entry.unreliable)


def _remarks(published: Sequence[Entry], first: Entry) -> list[str]:
    if not published:
        return [f"There are no published figures for {first.dataset} {first.norm} near eps {first.eps}."]
    sources = " and ".join(dict.fromkeys(entry.source for entry in published))
    return [
        f"{len(published)} entries are published figures ({sources}), on all test images. Their ranks are among "
        "themselves, by the best known robust accuracy; what was evaluated here has the rank that it would take."
    ]
