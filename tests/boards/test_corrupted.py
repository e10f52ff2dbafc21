"""Accuracy under common corruptions as a column: over seeds that were evaluated alike, with a note on the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corrupted_runs import IMAGES, record
from written_runs import write_five, write_run

from robench_fire.boards import model_info, rows
from robench_fire.errors import DataError
from robench_fire.evaluation.corruptions import stored
from robench_fire.files import sealed, write_json
from robench_fire.runs.compose import Request
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import entries_in
from robench_fire.tables.formats import frame as frame_of
from robench_fire.tables.table import tables


def test_the_column_is_mean_and_std_over_seeds(tmp_path: Path) -> None:
    write_five(tmp_path)
    means = [record(run, 200 + run.seed) for run in rows.find(tmp_path)]
    (table,) = tables(entries_in([tmp_path]))
    cell = table.cells[0][table.columns.index("Corruptions")]
    assert cell == f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}"
    assert [note for note in table.notes if "made here; no figures of the official files" in note]
    (frame,) = frame_of(entries_in([tmp_path])).to_dict("records")
    assert (frame["corruptions_mean"], frame["corruptions_std"]) == pytest.approx(
        (np.mean(means), np.std(means, ddof=1))
    )
    (seeds,) = tables(entries_in([tmp_path]), Shown(per_seed=True))
    assert [cells[seeds.columns.index("Corruptions")] for cells in seeds.cells] == [f"{each:.2f}" for each in means]


def test_without_such_evaluations_nothing_changes(tmp_path: Path) -> None:
    write_five(tmp_path)
    (row,) = rows.collect(tmp_path)
    assert "corruptions" not in row.facts
    (table,) = tables(entries_in([tmp_path]))
    assert "Corruptions" not in table.columns
    assert "corruptions_mean" not in frame_of(entries_in([tmp_path]))


@pytest.mark.parametrize("last", [{"weights": "0" * 64}, {"whole": False}, {"source": stored.FILES}])
def test_seeds_evaluated_differently_are_not_averaged(tmp_path: Path, last: dict[str, Any]) -> None:
    write_five(tmp_path)
    for run in rows.find(tmp_path):
        record(run, 200, **(last if run.seed == 4 else {}))
    (row,) = rows.collect(tmp_path)
    assert "corruptions" not in row.facts


def test_official_files_come_before_images_made_here(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    record(run, 100)
    official = record(run, 150, stored.FILES)
    (row,) = rows.collect(tmp_path)
    assert row.facts["corruptions"]["accuracy"] == {"0": official}
    assert "15 corruptions, 5 severities, 300 test images, from files in the official layout" in row.footnotes()[1]


def test_a_board_keeps_them_under_our_key_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    record(run, 150)
    (row,) = rows.collect(tmp_path / "runs")
    (path,) = model_info.publish([row], tmp_path / "board")
    assert model_info.from_model_info(path).facts["corruptions"] == row.facts["corruptions"]
    assert not [key for key in model_info.to_model_info(row) if "corrupt" in key]  # RobustBench's own key for them


def test_a_record_that_its_masks_do_not_give_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    record(run, 150)
    path = stored.place(run.folder / "eval", stored.HERE, IMAGES, 0)
    found = stored.read(path)
    write_json(path, sealed(found | {"accuracy": found["accuracy"] + 1}))
    with pytest.raises(DataError, match="its mean is not that of its corruptions"):
        rows.collect(tmp_path)
    found["corruptions"]["fog"]["masks"][0] = "no mask"
    write_json(path, sealed(found))
    with pytest.raises(DataError, match="not a packed mask"):
        rows.collect(tmp_path)
