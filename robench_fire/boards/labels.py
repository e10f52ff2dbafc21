"""What tells rows of one method apart, and the rows that a user means by a name or a setting."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.errors import UsageError, unknown
from robench_fire.models.own import text as own_text
from robench_fire.problem.settings import leaves, said_value
from robench_fire.quantity import Quantity
from robench_fire.runs.filters import has, plain, setting

KINDS = {"": "", "file": "extra data", "hidden": "hidden labels", "given": "given weights"}  # of extra_of, as said
ANYWAY = ("name", "profile", "recipe.extra", "recipe.extra.source")  # leaves that are told in another way


def labelled(rows: Sequence[Row]) -> list[Row]:
    """The same rows, those that share a method, data set, norm and radius with a label of exactly what differs.

    "FIRE" and "FIRE lam=20"; "FIRE short" beside another profile. The row of the method's own recipe keeps its name
    alone. A label that was given by hand stays.
    """
    alike: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.paper["method"], row.dataset, row.norm, str(float(Quantity(row.eps)))].append(row)
    labels = {id(row): label for group in alike.values() for row, label in zip(group, _labels(group), strict=True)}
    return [replace(row, label=labels[id(row)]) for row in rows]


def _labels(group: Sequence[Row]) -> list[str]:
    """One for each of the rows of a method; "" for a method whose name is enough."""
    if len({row.fingerprint for row in group}) < 2:
        return [""] * len(group)
    every = [dict(leaves(row.plan)) for row in group]
    apart = _apart(group, every)
    for by_hand in (True, False):  # what its recipe did not say is enough, where that tells all apart
        found = [_label(row, own, apart, by_hand) for row, own in zip(group, every, strict=True)]
        pairs = {(label, row.fingerprint) for label, row in zip(found, group, strict=True)}
        plans = Counter(label for label, _ in pairs)
        if max(plans.values()) == 1:
            return found
    return [
        f"{label} {row.fingerprint}" if plans[label] > 1 else label for label, row in zip(found, group, strict=True)
    ]


class _Apart(NamedTuple):
    """``parts``: which parts of _kind differ in a group; ``paths``: by kind, the leaves of which rows' values differ.

    A leaf is looked at once for all rows: comparing each row with every other takes minutes for some thousands.
    """

    parts: list[int]
    paths: dict[tuple[str, str], set[str]]


def _apart(group: Sequence[Row], plans: Sequence[dict[str, Any]]) -> _Apart:
    alike: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row, own in zip(group, plans, strict=True):
        alike[_kind(row)].append(own)
    parts = [at for at in (0, 1) if len({kind[at] for kind in alike}) > 1]
    return _Apart(parts, {kind: set(_unlike(its)) for kind, its in alike.items()})


def _unlike(plans: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for path in {path for plan in plans for path in plan} - {*ANYWAY}:
        first = plans[0].get(path)
        if any(plan.get(path) != first for plan in plans):
            yield path


def _label(row: Row, own: Mapping[str, Any], apart: _Apart, by_hand: bool) -> str:
    """``own``: its plan's leaves. ``by_hand``: without what the recipe says, so that a method's own row is its name."""
    kind = _kind(row)
    said = [kind[at] for at in apart.parts if kind[at]]
    paths = [path for path in own if path in apart.paths[kind]]
    ends = Counter(path.rpartition(".")[2] for path in paths)
    shown = [path for path in paths if not by_hand or path in row.facts["by_hand"]]
    changed = [f"{short_path(path, ends)}={_said(path, own[path])}" for path in shown]
    return " ".join([row.paper["method"], *said, *changed])


def _kind(row: Row) -> tuple[str, str]:
    """What decides many settings at once: a profile other than the usual, and data beyond the data set's."""
    return "" if row.profile == "matched" else row.profile, KINDS[row.extra]


def short_path(path: str, ends: Mapping[str, int]) -> str:
    """The end of a path that no other path has; a radius always with whose it is."""
    end = path.rpartition(".")[2]
    return ".".join(path.split(".")[-2:]) if ends[end] > 1 or end == "eps" else end


def _said(path: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else said_value(value).replace(", ", ",")
    if path == "recipe.arch" and (own := own_text.read(text)):
        return own.call
    return text[:8] if path == "code" or path.endswith("sha256") else text


def names(row: Row) -> tuple[str, ...]:
    """What a user may call a row."""
    plan, paper = str(row.plan["name"]), row.paper
    return plan, str(paper["method"]), str(paper["key"]), row.fingerprint, row.name


def chosen(rows: Sequence[Row], asked: Sequence[str]) -> list[Row]:
    """The row that each name is of: a label, a defense, a method as its paper calls it, a key, a plan's fingerprint.

    Raises:
        UsageError: for a name of no row, or of several.
    """
    return [_one(rows, name) for name in asked]


def _one(rows: Sequence[Row], name: str) -> Row:
    found = [row for row in rows if plain(name) == plain(row.name)] or _called(rows, name)
    if len(found) > 1:
        told = " or ".join(dict.fromkeys(f'"{row.name}"' for row in found))
        if len({row.name for row in found}) < len(found):
            told = f"a folder with one of them, or its plan, {' or '.join(dict.fromkeys(r.fingerprint for r in found))}"
        raise UsageError(f"{name} is {len(found)} rows here: name {told}")
    return found[0]


def _called(rows: Sequence[Row], name: str) -> list[Row]:
    if exact := [row for row in rows if row.name == name]:
        return exact
    found = [row for row in rows if plain(name) in map(plain, names(row))]
    if not found:
        raise UsageError(unknown("row", name, {row.label or row.plan["name"] for row in rows}))
    return found


def filtered(rows: Sequence[Row], only: Sequence[str] = (), where: Sequence[str] = ()) -> list[Row]:
    """The rows with one of the names ``only`` (none: all), and all of the settings ``where``, "defense.lam=6".

    Raises:
        UsageError: for a name or a setting that no row has, or a setting that is none.
    """
    called = [row for name in only for row in _called(rows, name)]
    kept = [row for row in rows if not only or any(row is each for each in called)]
    wanted = [setting(text, [row.plan for row in rows]) for text in where]
    return [row for row in kept if all(has(row.plan, *each) for each in wanted)]


def given(rows: Sequence[Row], asked: Sequence[str]) -> list[Row]:
    """The rows with labels of the user's, "NAME=LABEL"; "NAME=" takes one away.

    Raises:
        UsageError: for a text without a name or "=", a name of no row or of several, or a label that is there twice.
    """
    found = {id(row): row for row in rows}
    for text in asked:
        name, equals, label = text.rpartition("=")
        if not equals or not name.strip():
            raise UsageError(f"--label {text}: expected ROW=LABEL, a row as it is called now and what to call it")
        row = _one(rows, name.strip())
        found[id(row)] = replace(row, facts=row.facts | {"label": " ".join(label.split())})
    made = list(found.values())
    labels = Counter(plain(row.name) for row in made)
    for row in made:
        if row.facts.get("label") and labels[plain(row.name)] > 1:
            raise UsageError(f"--label {row.name}: another row is called that; choose another one")
    return made
