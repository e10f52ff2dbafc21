"""transfer and confusion, as matrices."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_figures import ODD, check, texts
from written_runs import write_run

from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.adversarial_images import Predicted
from robench_fire.figures.matrices import confusion, transfer, transfer_file
from robench_fire.figures.source import Plan, plans
from robench_fire.runs.compose import Request


def written(path: Path, names: tuple[str, ...], missing: float | None = None) -> Path:
    """Method i leaves 10 i + j % of method j; ``missing`` on the diagonal, as for single seeds."""

    def cell(i: int, j: int) -> dict[str, Any] | None:
        mean = missing if i == j else 10.0 * i + j
        return None if mean is None else {"mean": mean, "std": None, "n": 1, "values": [mean]}

    rows = {one: {other: cell(i, j) for j, other in enumerate(names)} for i, one in enumerate(names)}
    alone = {"square": dict.fromkeys(names), "aa": {name: cell(9, 1) for name in names}}
    facts = {"norm": "Linf", "eps": "0.2", "examples": 300, "transfer": rows, "alone": alone}
    path.write_text(json.dumps(facts))
    return path


def test_transfer_is_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "transfer-Linf-0.2-300.json", ("FIRE", "Madry", "TRADES"))
    assert transfer_file([tmp_path]) == path
    drawn = transfer(path)
    check(drawn)
    found = {(row["perturbed_on"], row["attacked"]): row["percent"] for row in drawn.data}
    assert found["TRADES", "Madry"] == 21.0
    assert found["AutoAttack", "FIRE"] == 91.0
    assert math.isnan(float(found["FIRE", "FIRE"]))
    assert not [key for key in found if key[0] == "Square alone"]
    assert "Images perturbed on FIRE break most, 1.5 %" in drawn.said
    assert "–" in texts(drawn)


def test_transfer_of_one_method_and_of_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "transfer-x.json"
    assert "one method here" in transfer(written(path, ("FIRE",))).said
    check(transfer(written(path, ODD)))
    check(transfer(written(path, tuple(f"method {n}" for n in range(24)))))


def test_transfer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make it first: `robench transfer RUNS`"):
        transfer_file([tmp_path])
    for name in ("a", "b"):
        written(tmp_path / f"transfer-{name}.json", ("FIRE",))
    with pytest.raises(UsageError, match="several"):
        transfer_file([tmp_path])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="is not what `robench transfer` writes"):
        transfer(tmp_path / "other.json")


def predicted(broken: dict[int, int], classes: int = 3, each: int = 2) -> Predicted:
    """All clean images are right; ``broken``: as what some are taken then."""
    labels = np.repeat(np.arange(classes), each)
    images, index = np.zeros((len(labels), 1, 2, 2), np.float32), np.array(list(broken), int)
    then = np.eye(classes)[list(broken.values())].reshape(-1, classes)
    return Predicted(images, labels, np.eye(classes)[labels], index, images[index] + 0.1, then)


def a_plan(root: Path) -> Plan:
    write_run(root, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    return plans([root])[0]


def test_confusion_counts_all_seeds(tmp_path: Path) -> None:
    drawn = confusion([(a_plan(tmp_path), [predicted({0: 1, 4: 1}), predicted({0: 1})])])
    check(drawn)
    counts = {(row["images"], row["true"], row["predicted"]): row["count"] for row in drawn.data}
    assert counts["clean", 0, 0] == 4
    assert counts["AutoAttack", 0, 1] == 2
    assert counts["AutoAttack", 0, 0] == 2
    assert counts["AutoAttack", 2, 1] == 1
    assert "class 1 holds best (100 % right), 0 worst (50 %); 0 is taken for 1 most often (50 %" in drawn.said


def test_confusion_of_a_hundred_classes_and_of_none_broken(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    drawn = confusion([(plan._replace(name=ODD[0]), [predicted({}, 100, 1)]), (plan, [predicted({})])])
    check(drawn)
