"""What rows of one method are called, and which row a user means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

from robench_fire.boards import labels, model_info
from robench_fire.boards.labels import chosen, filtered, given, labelled
from robench_fire.boards.rows import Row
from robench_fire.errors import DataError, UsageError
from robench_fire.problem.settings import leaves, plan_fingerprint
from robench_fire.runs.filters import has

ROWS = model_info.find_rows(ROOT / "leaderboards" / "digits")
FIRE = next(row for row in ROWS if row.paper["method"] == "FIRE")


def other(fingerprint: str, by_hand: dict[str, Any], profile: str = "matched") -> Row:
    """FIRE with settings of the user's."""
    plan = {**FIRE.plan, "profile": profile}
    for path, value in by_hand.items():
        section, _, name = path.partition(".")
        plan[section] = {**plan[section], name: value}
    return replace(FIRE, plan=plan, fingerprint=fingerprint, facts=FIRE.facts | {"by_hand": by_hand})


def at(lam: float) -> Row:
    """By its own fingerprint, so that it can be published."""
    row = other("", {"defense.lam": lam})
    return replace(row, fingerprint=plan_fingerprint(row.plan))


STRONG, WEAK = at(20.0), at(6.0)
GEODESIC = other("geodesic", {"defense.distance": "geodesic"})


def called(*rows: Row) -> list[str]:
    return [row.name for row in labelled(rows)]


def test_a_label_is_exactly_what_differs() -> None:
    assert called(FIRE) == ["FIRE"]
    assert called(STRONG) == ["FIRE"]  # nothing to tell it from; what was set by hand is a footnote
    assert called(FIRE, STRONG, GEODESIC) == ["FIRE", "FIRE lam=20", "FIRE distance=geodesic"]
    assert called(WEAK, STRONG) == ["FIRE lam=6", "FIRE lam=20"]
    longer = other("longer", {"defense.lam": 20.0, "recipe.epochs": 40})
    assert called(STRONG, longer) == ["FIRE", "FIRE epochs=40"]


def test_what_no_one_set_by_hand_tells_apart_too() -> None:
    """As of a file that has changed: both are their recipe's own."""
    new, old = other("new", {}), other("old", {})
    new.plan["code"], old.plan["code"] = "0123456789abcdef", "fedcba9876543210"
    assert called(new, old) == ["FIRE code=01234567", "FIRE code=fedcba98"]


def test_a_profile_is_said_once_for_all_that_it_changes() -> None:
    short = other("short", {}, profile="short")
    short.plan["recipe"] = {**short.plan["recipe"], "epochs": 6}
    assert called(FIRE, short) == ["FIRE", "FIRE short"]


def test_plans_that_read_the_same_are_called_by_their_fingerprint() -> None:
    assert called(FIRE, replace(FIRE, fingerprint="twin")) == [f"FIRE {FIRE.fingerprint}", "FIRE twin"]


def test_rows_of_other_settings_share_no_label() -> None:
    assert called(FIRE, replace(STRONG, eps="0.1")) == ["FIRE", "FIRE"]
    assert [row.name for row in labelled(ROWS)] == [row.paper["method"] for row in ROWS]


@pytest.mark.parametrize("name", ["fire", "FIRE", FIRE.fingerprint])
def test_a_methods_own_row_is_meant_by_its_name(name: str) -> None:
    assert chosen(labelled([STRONG, FIRE]), [name])[0].fingerprint == FIRE.fingerprint


def test_a_label_names_a_row() -> None:
    rows = labelled([FIRE, STRONG, WEAK])
    assert [row.fingerprint for row in chosen(rows, ["fire LAM=20", WEAK.fingerprint])] == [
        STRONG.fingerprint,
        WEAK.fingerprint,
    ]
    with pytest.raises(UsageError, match=r'fire is 2 rows here: name "FIRE lam=20" or "FIRE lam=6"'):
        chosen(labelled([STRONG, WEAK]), ["fire"])
    with pytest.raises(UsageError, match="unknown row 'tirades': did you mean trades"):
        chosen(ROWS, ["tirades"])


def test_filters_keep_rows_by_name_and_by_setting() -> None:
    rows = labelled([*ROWS, STRONG, WEAK])
    assert {row.name for row in filtered(rows, only=["fire"])} == {"FIRE", "FIRE lam=20", "FIRE lam=6"}
    assert [row.name for row in filtered(rows, only=["FIRE"])] == ["FIRE"]
    assert [row.name for row in filtered(rows, only=["fire lam=6", "mart"])] == ["MART", "FIRE lam=6"]
    assert [row.name for row in filtered(rows, where=["defense.lam=20"])] == ["FIRE lam=20"]
    assert filtered(rows, only=["fire"], where=["defense.lam=20", "recipe.epochs=21"]) == []
    for where, said in {
        "defense.lam": "expected PATH=VALUE",
        "defense.lamb=6": "did you mean defense.lam",
    }.items():
        with pytest.raises(UsageError, match=said):
            filtered(rows, where=[where])
    with pytest.raises(UsageError, match="unknown row"):
        filtered(rows, only=["tirades"])


def test_a_users_label_stays_and_is_published(tmp_path: Path) -> None:
    rows = given(labelled([FIRE, STRONG]), ["FIRE lam=20=strong"])
    assert [row.name for row in labelled(rows)] == ["FIRE", "strong"]
    paths = model_info.publish(rows, tmp_path)
    assert [path.name for path in paths] == ["Picot2021Adversarial.json", "Picot2021Adversarial_strong.json"]
    again = labelled(model_info.find_rows(tmp_path))
    assert sorted(row.name for row in again) == ["FIRE", "strong"]
    assert [row.name for row in given(again, ["strong="])] != ["FIRE", "strong"]
    for label, said in {"strong": "expected ROW=LABEL", "strong=FIRE": "another row is called that"}.items():
        with pytest.raises(UsageError, match=said):
            given(rows, [label])


def test_a_plan_keeps_its_file_on_a_board_whatever_it_is_called(tmp_path: Path) -> None:
    """So that publishing again with other rows beside it does not make it twice."""
    model_info.publish(labelled([FIRE, STRONG]), tmp_path)
    model_info.publish(given(labelled([STRONG]), [f"{STRONG.fingerprint}=strong"]), tmp_path)
    names = sorted(path.name for path in tmp_path.rglob("*.json"))
    assert names == ["Picot2021Adversarial.json", "Picot2021Adversarial_lam-20.json"]
    with pytest.raises(DataError, match=r"two plans of FIRE .* tell them apart by --label PLAN=TEXT"):
        model_info.publish(labelled([WEAK]), tmp_path)


def test_settings_are_compared_as_numbers_where_they_are() -> None:
    assert has(FIRE.plan, "threat.eps", "1/5")
    assert has(FIRE.plan, "recipe.schedule.at", "0.75,0.9")
    assert not has(FIRE.plan, "threat.eps", "0.3")


def test_a_plan_is_taken_apart_once_however_many_rows_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards have thousands of rows."""
    taken: list[Any] = []
    monkeypatch.setattr(labels, "leaves", lambda plan: taken.append(plan) or leaves(plan))
    rows = [at(1.0 + number) for number in range(20)]
    assert [row.label for row in labelled(rows)] == [f"FIRE lam={1 + number}" for number in range(20)]
    assert len(taken) == len(rows)
