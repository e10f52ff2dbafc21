"""Entries that may be compared with each other, as one table of text."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from robench_fire.quantity import Quantity
from robench_fire.tables import cost_columns, marks
from robench_fire.tables.columns import USUAL, Shown, chosen, columns, values
from robench_fire.tables.entries import BENCHMARK, OURS, PUBLISHED, Entry, beside, of_row

_BY_ITSELF = (
    "White box: FGSM, PGD-20 (CW: on the margin of logits), AutoAttack. Black box: Square alone, and Transfer, the "
    "images that PGD-20 finds on independently trained standard networks. Each attack is run by itself."
)
_INTERVALS = "±: the 95 % interval over training seeds and test images (docs/statistics.md); elsewhere, std over seeds."
_PARETO = "*: no other row is as good in clean accuracy, AutoAttack and training time at once, by their means."
_PAIRED = "difference over seeds and images, Holm's correction, 5 %; nothing where that is all"
PARETO = "*"
"""Behind the method of a row that is Pareto-optimal."""


class Table(NamedTuple):
    """``cells``: a text per column for each of ``entries``. ``ranks``: the place of each, see ``tables``.

    ``best``: for each entry, the columns where it is best or as good within noise. ``optimal``: see marks.pareto, of
    tables with intervals. ``marks``: for each entry, the numbers of its notes; ``notes`` counted from 1, ``remarks``
    about the whole table, among them the notes that all of its own rows share.
    """

    title: str
    columns: list[str]
    cells: list[list[str]]
    entries: list[Entry]
    ranks: list[int]
    best: list[set[str]]
    optimal: list[bool]
    marks: list[list[int]]
    notes: list[str]
    remarks: list[str]


def tables(entries: Iterable[Entry], shown: Shown = USUAL) -> Iterator[Table]:
    """One table per data set, norm, radius, number of test images and evaluation seed: only such entries compare."""

    def setting(entry: Entry) -> tuple[str, str, str, float, int, int]:
        eps, images = float(Quantity(entry.eps)), entry.images
        return entry.dataset, images, entry.norm, eps, entry.examples, entry.evaluation_seed

    for _, group in groupby(sorted(entries, key=setting), key=setting):
        measured = list(group)
        yield _table(measured, beside(measured) if shown.published else [], shown)


def _table(measured: list[Entry], published: list[Entry], shown: Shown) -> Table:
    entries = sorted([*measured, *published], key=lambda entry: (*_place(entry), entry.method))
    ranks = _ranks(entries, bool(published))
    optimal = marks.pareto(entries) if shown.intervals else [False] * len(entries)
    bold = marks.best_of_differences(entries) if shown.intervals else marks.best(entries)
    if shown.per_seed:
        parts = [per_seed(entry) for entry in entries]
        ranks = [rank for rank, part in zip(ranks, parts, strict=True) for _ in part]
        entries = [entry for part in parts for entry in part]
        optimal, bold = [False] * len(entries), [set() for _ in entries]
    found = [marks.intervals(entry) if shown.intervals else {} for entry in entries]
    shared = _shared([entry for entry in measured if entry.origin == OURS])
    notes, numbers = _numbered(entries, shared, [marks.narrower(each) for each in found])
    names, cells = columns(measured, shown), []
    for entry, rank, star, own, each in zip(entries, ranks, optimal, numbers, found, strict=True):
        signs = PARETO * star + (f" [{','.join(map(str, own))}]" if own else "")
        texts = values(entry, rank, signs, shown, each)
        names = chosen(shown.names, list(texts)) or names
        cells.append([texts[name] for name in names])
    remarks = [
        *_explained(entries, shared, bold, shown, any(optimal)),
        *(_published(published, measured[0]) if shown.published else []),
        *(cost_columns.remarks(measured) if shown.cost else []),
        *([_BY_ITSELF] if shown.attacks else []),
    ]
    return Table(
        shown.caption or _title(measured[0]), names, cells, entries, ranks, bold, optimal, numbers, notes, remarks
    )


def _title(first: Entry) -> str:
    again = f", evaluation seed {first.evaluation_seed}" if first.evaluation_seed else ""
    images = f" ({first.images})" if first.images else ""
    return f"{first.dataset}{images}, {first.norm}, eps {first.eps}, {first.examples:,} test images{again}"


def _numbered(
    entries: Sequence[Entry], shared: Sequence[str], more: Sequence[list[str]]
) -> tuple[list[str], list[list[int]]]:
    """The notes of a table but for those that all share, and the numbers of each entry's."""
    marked = [
        [note for note in entry.notes if entry.origin != OURS or note not in shared] + apart + own
        for entry, apart, own in zip(entries, _apart(entries), more, strict=True)
    ]
    numbers = {note: at for at, note in enumerate(dict.fromkeys(note for each in marked for note in each), 1)}
    return list(numbers), [sorted(numbers[note] for note in each) for each in marked]


def per_seed(entry: Entry) -> list[Entry]:
    """An entry of ours as one for each of its seeds; others as they are."""
    row = entry.row
    if row is None:
        return [entry]
    found = []
    for seed, own in sorted(row.per_seed.items()):
        facts = dict(row.facts)
        for name in ("masks", "verdicts", "cost"):
            facts[name] = {key: each for key, each in facts.get(name, {}).items() if key == str(seed)}
        alone = facts.get("attacks", {}).items()
        facts["attacks"] = {name: {str(seed): each[str(seed)]} for name, each in alone if str(seed) in each}
        pgd20 = {seed: row.pgd20[seed]} if seed in row.pgd20 else {}
        one = of_row(replace(row, per_seed={seed: own}, pgd20=pgd20, facts=facts))
        notes = tuple(note for note in one.notes if note in entry.notes)  # not that it is one of five
        found.append(replace(one, seed=seed, method=entry.method, place=entry.place, notes=notes))
    return found


def _shared(ours: Sequence[Entry]) -> list[str]:
    """The notes that all of several entries have."""
    return [note for note in ours[0].notes if all(note in entry.notes for entry in ours)] if len(ours) > 1 else []


def _explained(
    entries: Sequence[Entry], shared: Sequence[str], bold: Sequence[set[str]], shown: Shown, starred: bool
) -> list[str]:
    """What all rows share, and what bold, ± and the star mean."""
    others = any(entry.origin != OURS for entry in entries)
    remarks = [f"Every row{' of ours' * others}: {note}" for note in shared]
    left_out = any(map(marks.doubtful, entries)) and not shown.per_seed
    if len(entries) > 1 and (any(bold) or left_out):
        test = _PAIRED if shown.intervals else "Welch's t-test over seeds, 5 %"
        remarks.append(
            f"Bold: the best of a column, and what cannot be told from it ({test})."
            + " A row whose AutoAttack result is unreliable is left out of it." * left_out
        )
    return remarks + [_INTERVALS] * shown.intervals + [_PARETO] * starred


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


def _ranks(entries: Sequence[Entry], published: bool) -> list[int]:
    """The place of each entry, equal ones sharing theirs: among all, or among the published ones where those are."""
    counted = sorted(_place(each) for each in entries if not published or each.origin == PUBLISHED)
    return [1 + bisect_left(counted, _place(entry)) for entry in entries]


def _place(entry: Entry) -> tuple[bool, float]:
    return entry.robust is None, -entry.score


def _published(published: Sequence[Entry], first: Entry) -> list[str]:
    if not published:
        return [f"There are no published figures for {first.dataset} {first.norm} near eps {first.eps}."]
    theirs, means = ([each for each in published if each.origin == kind] for kind in (PUBLISHED, BENCHMARK))
    said = [
        f"{len(theirs)} entries are published figures ({_sources(theirs)}), on all test images. Their ranks are among "
        "themselves, by the best known robust accuracy; what was evaluated here has the rank that it would take."
    ] * bool(theirs)
    return said + [
        f"{len(means)} are a benchmark's means over seeds, on all test images ({_sources(means)}); they count in no "
        "rank, and have the one that they would take."
    ] * bool(means)


def _sources(entries: Sequence[Entry]) -> str:
    return " and ".join(dict.fromkeys(entry.source for entry in entries))
