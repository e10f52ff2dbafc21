"""curves: every seed's epochs, and what went wrong in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_figures import ODD, check, texts
from written_runs import write_run

from robench_fire.errors import DataError, UsageError
from robench_fire.figures.curves import curves
from robench_fire.figures.source import few, plans
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import Run

FIRE = Request(defense="fire", dataset="digits", epochs=4)


def epoch(number: int, robust: float | None = 50.0, **more: float) -> dict[str, float]:
    row = {"epoch": number, "lr": 0.1, "loss": 2.0 / number, "loss_natural": 1.0, "loss_robust": 1.0, "seconds": 1.0}
    return row | ({} if robust is None else {"clean": 90.0, "robust": robust}) | more


def seed(root: Path, number: int, rows: list[dict[str, float]], request: Request = FIRE) -> Run:
    run = write_run(root, request, number, 90.0, 50.0)
    (run.folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def test_data_are_the_epochs_of_every_seed(tmp_path: Path) -> None:
    for number in range(3):
        seed(tmp_path, number, [epoch(n, 40.0 + number + n) for n in range(1, 5)])
    drawn = curves(plans([tmp_path]))
    check(drawn)
    assert [(row["seed"], row["epoch"], row["robust"]) for row in drawn.data] == [
        (number, n, 40.0 + number + n) for number in range(3) for n in range(1, 5)
    ]
    assert drawn.said == "FIRE, 3 seeds: at the end clean 90.0 % and PGD 45.0 %."
    assert {"natural", "robust"} <= set(texts(drawn))


def test_a_fall_is_marked(tmp_path: Path) -> None:
    seed(tmp_path, 0, [epoch(1, 50.0), epoch(2, 24.9), epoch(3, 10.0), epoch(4, 40.0)])
    seed(tmp_path, 1, [epoch(n) for n in range(1, 5)])
    drawn = curves(plans([tmp_path]))
    check(drawn)
    assert [(row["seed"], row["epoch"]) for row in drawn.data if row["catastrophic"]] == [(0, 2)]
    assert "a fall of more than 15 points and a half under PGD: seed 0 in epoch 2" in drawn.said
    assert "catastrophic" in texts(drawn)


def test_an_unfinished_seed_shows_what_there_is(tmp_path: Path) -> None:
    run = seed(tmp_path, 0, [epoch(1), epoch(2)])
    (run.folder / "train.json").unlink()
    seed(tmp_path, 1, [])
    drawn = curves(plans([tmp_path]))
    check(drawn)
    assert "1 seed: " in drawn.said
    assert "stops: seed 0 after 2 of 4 epochs" in drawn.said
    assert "stops here" in texts(drawn)


def test_without_validation(tmp_path: Path) -> None:
    seed(tmp_path, 0, [epoch(n, None) for n in range(1, 5)])
    drawn = curves(plans([tmp_path]))
    check(drawn)
    assert drawn.said == "FIRE, 1 seed: at the end not validated."


def test_nothing_to_draw(tmp_path: Path) -> None:
    run = seed(tmp_path, 0, [])
    with pytest.raises(DataError, match="no epoch of these runs is finished"):
        curves(plans([tmp_path]))
    (run.folder / "curve.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"curve.jsonl is no curve \(KeyError"):
        curves(plans([tmp_path]))


def test_plans_have_the_names_of_tables_and_there_is_room_for_few(tmp_path: Path) -> None:
    for lam in (12, 6):
        request = Request(defense="fire", dataset="digits", epochs=4, settings=(("--set", "defense.lam", str(lam)),))
        seed(tmp_path, 0, [epoch(1)], request)
    found = plans([tmp_path])
    assert {plan.name for plan in found} == {"FIRE", "FIRE lam=6"}
    assert [plan.name for plan in plans([tmp_path], ["FIRE lam=6"])] == ["FIRE lam=6"]
    assert [plan.name for plan in plans([tmp_path], (), ["defense.lam=12"])] == ["FIRE"]
    with pytest.raises(UsageError, match='shows one method, and here are 2: choose with --only among "FIRE'):
        few(found, 1, "gallery")


def test_odd_names(tmp_path: Path) -> None:
    seed(tmp_path, 0, [epoch(n) for n in range(1, 5)])
    (plan,) = plans([tmp_path])
    check(curves([plan._replace(name=name) for name in ODD[:4]]))
