"""Rows of seeds whose training failed though it came to its end."""

from __future__ import annotations

from pathlib import Path

from written_runs import write_run

from robench_fire.boards import rows
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import find


def test_a_training_that_failed_is_counted_and_said(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    for seed in range(2):
        write_run(tmp_path, request, seed, 90.0, 50.0)
    (run,) = [each for each in find(tmp_path) if each.seed == 1]
    run.write("train.json", run.read("train.json") | {"signs": ["its validation accuracy is near chance"]})
    (row,) = rows.collect(tmp_path)
    assert "Seed 1: its validation accuracy is near chance." in row.footnotes()
    assert sorted(row.per_seed) == [0, 1]
