"""Runs side by side: a failing or dying one stops no other, and every run's last event is its last."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import launch_tasks
import pytest

from robench_fire.errors import DataError, RobenchError
from robench_fire.launching.local import Task, launch
from robench_fire.progress import Event

pytestmark = pytest.mark.slow


def task(name: str, *given: object) -> Task:
    return partial(getattr(launch_tasks, name), *given)


@pytest.mark.parametrize("jobs", [1, 2])  # in new interpreters
def test_failures_stop_no_other_run(tmp_path: Path, jobs: int) -> None:
    heard: list[Event] = []
    tasks = {
        "a": task("fails"),
        "b": task("good", tmp_path, "b"),
        "c": task("refuses"),
        "d": task("good", tmp_path, "d"),
    }
    failed = launch(tasks, jobs, heard.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "d"]
    assert {name: (type(error), str(error)) for name, error in failed.items()} == {
        "a": (RobenchError, "unexpected RuntimeError: CUDA out of memory; `robench --debug ...` shows where"),
        "c": (DataError, "the file is altered"),
    }
    assert {event.run: event.stage for event in heard if event.stage in ("done", "failed")} == {
        "a": "failed", "b": "done", "c": "failed", "d": "done",
    }  # fmt: skip


@pytest.mark.usefixtures("forked_workers")
def test_only_the_run_whose_worker_dies_fails(tmp_path: Path) -> None:
    heard: list[Event] = []
    tasks = {
        "once": task("dies_once", tmp_path),
        "always": task("dies"),
        "b": task("good", tmp_path, "b"),
        "c": task("good", tmp_path, "c"),
    }
    failed = launch(tasks, 2, heard.append)
    assert list(failed) == ["always"]
    assert "worker process died" in str(failed["always"])
    assert {"b", "c", "died"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.usefixtures("forked_workers")
def test_nothing_is_heard_of_a_run_after_its_end(tmp_path: Path) -> None:
    heard: list[Event] = []

    def slowly(event: Event) -> None:
        time.sleep(0.02)
        heard.append(event)

    launch({name: task("good", tmp_path, name) for name in "abc"}, 2, slowly)
    for name in "abc":
        stages = [event.stage for event in heard if event.run == name]
        assert stages[-1] == "done"
        assert stages.count("done") == 1
        assert len(stages) > 1
