"""radius: accuracy over the radius of the attack."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_figures import ODD, check
from written_runs import write_five, write_run

from robench_fire.errors import DataError, UsageError
from robench_fire.figures.radius import radius
from robench_fire.figures.source import plans
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import find

LEFT = {"0.1": 70.0, "0.4": 5.0}


def attacked(root: Path, left: dict[str, float], attacks: tuple[str, ...] = ("aa", "pgd20")) -> None:
    """Every seed at these radii too; PGD-20 leaves 10 points more."""
    for run in find(root):
        for attack in attacks:
            facts = run.read(f"eval.{attack}-Linf-0.2-300.json")
            for eps, value in left.items():
                robust = value + run.seed + 10 * (attack == "pgd20")
                run.write(f"eval.{attack}-Linf-{eps}-300.json", facts | {"eps": eps, "robust": robust})


def test_points_are_the_evaluations(tmp_path: Path) -> None:
    write_five(tmp_path)
    attacked(tmp_path, LEFT)
    drawn = radius(plans([tmp_path]))
    check(drawn)
    means = {(row["attack"], row["eps"]): row["percent"] for row in drawn.data if row["seed"] == "mean"}
    assert {at: means["AutoAttack", at] for at in (0.0, 0.1, 0.2, 0.4)} == {0.0: 92.0, 0.1: 72.0, 0.2: 51.0, 0.4: 7.0}
    assert means["PGD-20", 0.1] == 82.0
    seeds = [row["percent"] for row in drawn.data if (row["attack"], row["eps"]) == ("AutoAttack", 0.1)][1:]
    assert seeds == [70.0, 71.0, 72.0, 73.0, 74.0]
    assert "most is left of FIRE: 7.0 % at 0.4" in drawn.said
    assert "up to 10.0 points more than AutoAttack (FIRE at 0.1)" in drawn.said
    assert drawn.said.endswith("Accuracy nowhere rises with the radius.")


def test_accuracy_that_rises_is_said(tmp_path: Path) -> None:
    write_five(tmp_path)
    attacked(tmp_path, {"0.4": 75.0})
    assert "Accuracy rises with the radius, as it cannot unless an attack fails: FIRE" in radius(plans([tmp_path])).said


def test_pgd_alone_one_seed_and_odd_names(tmp_path: Path) -> None:
    write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    attacked(tmp_path, LEFT, ("pgd20",))
    (plan,) = plans([tmp_path])
    drawn = radius([plan._replace(name=name) for name in ODD[:7]])
    check(drawn)
    assert "PGD-20" in {row["attack"] for row in drawn.data}


def test_one_norm_and_one_seed_of_several(tmp_path: Path) -> None:
    write_five(tmp_path)
    attacked(tmp_path, LEFT)
    one = radius(plans([next(tmp_path.rglob("seed-3"))]))
    assert {row["seed"] for row in one.data} == {"mean", 3}
    write_run(tmp_path, Request(defense="fire", dataset="cifar10"), 0, 90.0, 50.0)
    with pytest.raises(UsageError, match="here are cifar10 Linf, digits Linf"):
        radius(plans([tmp_path]))


def test_one_radius_names_the_command(tmp_path: Path) -> None:
    write_five(tmp_path)
    with pytest.raises(DataError, match=r"attack at several radii first: `robench eval .*/fire/\w+ --eps 0.1,0.2,0.4`"):
        radius(plans([tmp_path]))
