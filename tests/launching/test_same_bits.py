"""One plan and seed come to the same weights, whatever else runs beside them; and what else computed them is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import ran

from robench_fire.files import sha256
from robench_fire.runs.folders import find
from robench_fire.runs.provenance import other_sums

pytestmark = pytest.mark.usefixtures("forked_workers")
LINE = "train fire_sa digits --epochs 1 --no-eval"


def hashes(folder: Path) -> list[str]:
    return [sha256(run.weights) for run in find(folder)]


def test_weights_do_not_depend_on_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time the run would have all threads of this process, two at a time those that are left for each."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        for jobs in ("1", "2"):
            torch.set_num_threads(3 - int(jobs))
            ran(tmp_path, *LINE.split(), "--seeds", "2", "--jobs", jobs, "--output", jobs)
    finally:
        torch.set_num_threads(1)
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_going_on_otherwise_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = [*LINE.split(), "--seed", "0", "--jobs", "1"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ran(tmp_path, *line)
    (run,) = find(tmp_path)
    began = run.read("provenance.json")
    assert [(each["threads"], each["deterministic"]) for each in began["sessions"]] == [(1, True)]
    for threads, more, said in (
        (2, [], "was begun by 2 threads and goes on by 1: its weights will be those of neither; OMP_NUM_THREADS=2"),
        (1, ["--no-deterministic"], "was begun --deterministic and goes on without"),
    ):
        (run.folder / "train.json").unlink()
        run.write("provenance.json", began | {"sessions": [began["sessions"][0] | {"threads": threads}]})
        assert f"seed 0 {said}" in ran(tmp_path, *line, *more).stderr
    assert [each["deterministic"] for each in run.read("provenance.json")["sessions"]] == [True, False]


def test_what_goes_on_as_it_began_is_not_said() -> None:
    one, old = {"threads": 4, "deterministic": True, "cuda": None}, {"threads": 1}
    assert other_sums([one]) == other_sums([one, one]) == other_sums([old, one]) == ""
    assert other_sums([one | {"cuda": "13"}, one | {"cuda": "13", "threads": 1}]) == ""
