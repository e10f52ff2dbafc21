"""gallery: images and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_figures import ODD, check, texts
from written_runs import write_run

from robench_fire.errors import DataError
from robench_fire.evaluation.adversarial_images import Predicted
from robench_fire.figures.gallery import gallery
from robench_fire.figures.source import Plan, plans
from robench_fire.runs.compose import Request


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    return plans([tmp_path])[0]


def predicted(broken: list[int], channels: int = 1) -> Predicted:
    """20 images of 10 classes; the broken ones 0.2 lighter, and taken for the next class."""
    labels, images = np.arange(20) % 10, np.full((20, channels, 4, 4), 0.5, np.float32)
    index = np.array(broken, int)
    said = np.full((20, 10), 0.02) + 0.8 * np.eye(10)[labels]
    then = np.full((len(index), 10), 0.005) + 0.95 * np.eye(10)[(labels[index] + 1) % 10]
    return Predicted(images, labels, said, index, images[index] + 0.2, then)


def test_the_first_broken_image_of_each_class(plan: Plan) -> None:
    drawn = gallery(plan, 0, predicted([3, 13, 5, 17]))
    check(drawn)
    assert [row["image"] for row in drawn.data] == [3, 5, 17]
    first = drawn.data[0]
    assert (first["label"], first["predicted_clean"], first["predicted_perturbed"]) == (3, 3, 4)
    assert first["probability_clean"] == pytest.approx(0.82)
    assert first["probability_perturbed"] == pytest.approx(0.955)
    assert first["largest_change"] == pytest.approx(0.2, abs=1e-6)
    assert first["l2_of_change"] == pytest.approx(0.8, abs=1e-6)
    assert {"3: 82 %", "4: 96 %"} <= set(texts(drawn)) or {"3: 82 %", "4: 95 %"} <= set(texts(drawn))
    assert "of 4 broken ones (20.0 % of all); 3 of 3 are now called something else with more than 90 %" in drawn.said


def test_colour_many_classes_and_odd_names(plan: Plan) -> None:
    drawn = gallery(plan._replace(name=ODD[0]), 0, predicted(list(range(20)), channels=3))
    check(drawn)
    assert len(drawn.data) == 8


def test_nothing_broken(plan: Plan) -> None:
    with pytest.raises(DataError, match="AutoAttack broke no image of FIRE, seed 0"):
        gallery(plan, 0, predicted([]))
