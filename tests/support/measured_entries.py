"""Entries as they were measured, and what tables say of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from repository import BOARDS

from robench_fire.tables.entries import Entry, entries_in, of_row
from robench_fire.tables.table import Table, tables

BOARD = entries_in([BOARDS / "digits" / "Linf"])


FIRE = next(each.row for each in BOARD if each.method == "FIRE" and each.row)


SPREAD = [-1.5, 1.5, 0.0, -1.0, 1.0]


MNIST = {"Gowal2020Uncovering": 1, "Zhang2019Theoretically": 2, "Atzmon2019Controlling": 3, "Madry2018Towards": 4,
         "Wong2020Fast": 5}  # fmt: skip


BOLD = "Bold: the best of a column, and what cannot be told from it (Welch's t-test over seeds, 5 %)."


def ours(method: str = "FIRE", robust: float = 50.0, clean: float = 85.0, dataset: str = "cifar10", eps: str = "8/255",
         spread: list[float] = SPREAD, **changes: Any) -> Entry:  # fmt: skip
    """An entry of ours with these means over its seeds."""
    plan = FIRE.plan | {"dataset": dataset, "threat": FIRE.plan["threat"] | {"eps": eps}}
    values = [{"clean": clean + each, "robust": robust + each, "train_seconds": 60.0} for each in spread]
    paper = FIRE.paper | {"method": method}
    about = {"plan": plan, "eps": eps, "per_seed": dict(enumerate(values)), "paper": paper} | changes
    return of_row(replace(FIRE, **about))


def one(*entries: Entry, **asked: Any) -> Table:
    (found,) = tables(entries, **asked)
    return found


def column(found: Table, name: str) -> dict[str, str]:
    """The texts of a column, by method."""
    place = found.columns.index(name)
    return {each.method: cells[place] for each, cells in zip(found.entries, found.cells, strict=True)}
