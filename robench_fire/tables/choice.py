"""Which entries of a table are shown, and what the user calls them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robench_fire.boards.labels import filtered, given
from robench_fire.errors import UsageError
from robench_fire.runs.filters import plain
from robench_fire.tables.entries import Entry, of_row


def chosen_in(
    entries: Sequence[Entry], only: Sequence[str] = (), where: Sequence[str] = (), labels: Sequence[str] = ()
) -> list[Entry]:
    """Entries by name and by setting, see labels.filtered, and called as the user says, see labels.given.

    Those that are none of ours have no settings, and their name alone: with others' names or settings they are
    left out.

    Raises:
        UsageError: for a name, a setting or a label that does not fit, or if nothing is left.
    """
    if not (only or where or labels):
        return list(entries)
    ours, others = ([each for each in entries if bool(each.row) == own] for own in (True, False))
    others, labels = _called(others, labels)
    names = {plain(each.method) for each in others}
    asked = [name for name in only if plain(name) not in names]
    rows = given([entry.row for entry in ours if entry.row], labels)
    places = {id(row): entry.place for row, entry in zip(rows, ours, strict=True)}
    kept = filtered(rows, asked, where) if asked or not only else []
    shown = [each for each in others if not where and (not only or plain(each.method) in set(map(plain, only)))]
    if not (kept or shown):
        raise UsageError(f"no row has {' and '.join([*([' or '.join(only)] if only else []), *where])}; ask for less")
    return [*(replace(of_row(row), place=places[id(row)]) for row in kept), *shown]


def _called(others: Sequence[Entry], labels: Sequence[str]) -> tuple[list[Entry], list[str]]:
    """Entries that are none of ours with the labels that name them, and the labels that do not."""
    left, found = [], list(others)
    for text in labels:
        name, equals, label = text.rpartition("=")
        named = [at for at, each in enumerate(found) if equals and plain(each.method) == plain(name)]
        if not named:
            left.append(text)
        for at in named:
            found[at] = replace(found[at], method=" ".join(label.split()) or found[at].key)
    return found, left
