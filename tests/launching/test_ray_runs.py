"""Runs on a real cluster of several nodes: as in processes, and a lost node costs an epoch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import forked

from robench_fire import cli
from robench_fire.errors import UsageError
from robench_fire.launching import ray_cluster, ray_runs
from robench_fire.launching.ray_cluster import Cluster, joined
from robench_fire.runs.folders import Run, find

pytestmark = pytest.mark.slow

MINE = """
from dataclasses import replace
from robench_fire.defenses.trades import DEFENSE as TRADES, PAPER
DEFENSE = replace(TRADES, beta=3.0)
"""
FAILING = """
import os
from dataclasses import dataclass
from robench_fire.defenses.trades import DEFENSE as TRADES, PAPER

@dataclass(frozen=True)
class Failing(type(TRADES)):
    def outer(self, views):
        %s

DEFENSE = Failing()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, where the driver is, and two nodes."""
    pytest.importorskip("ray", reason="Ray has no package for this Python")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        from ray.cluster_utils import Cluster as Nodes

        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            nodes.add_node(num_cpus=2)
        yield nodes
        nodes.shutdown()


def at_work(node: Any) -> bool:
    """Whether a run is under way on a node."""
    (raylet,) = node.all_processes["raylet"]
    children = Path(f"/proc/{raylet.process.pid}/task/{raylet.process.pid}/children").read_text().split()
    said = []
    for child in children:
        with suppress(OSError):  # it may just have ended
            said.append(Path(f"/proc/{child}/cmdline").read_bytes())
    return any(b"ray::work" in each for each in said)


def there(cluster: Any, words: str) -> list[str]:
    """A command line that runs on the cluster; ``here``: the same in this process."""
    return ["robench", *words.split(), "--launcher", "ray", "--address", cluster.address]


def here(words: str) -> list[str]:
    return ["robench", *words.split(), "--jobs", "1"]


Robench = Callable[..., str]


@pytest.fixture
def robench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Robench:
    """Runs a command line in this process, in a folder of the test's own; what it printed to stdout, or to stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(line: list[str], code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", line)
        ended = 0
        try:
            cli.main()
        except SystemExit as leaving:
            ended = int(leaving.code or 0)
        said = capsys.readouterr()
        assert ended == code, said.err
        return said.err if code else said.out

    return run


def epochs(folder: Path) -> list[str]:
    """The rows of the only run's curve so far."""
    return [row for path in folder.rglob("curve.jsonl") for row in path.read_text().splitlines()]


def results(run: Run) -> dict[str, bytes]:
    """What must not depend on where a run was."""
    return {path.name: path.read_bytes() for path in run.folder.iterdir() if path.suffix in (".safetensors", ".npy")}


def test_a_lost_node_costs_an_epoch_and_an_interruption_none(tmp_path: Path, cluster: Any, robench: Robench) -> None:
    """A run that loses its machine goes on on another, is interrupted there, and ends in this process."""
    words = "train fire digits --seeds 1 --epochs 24 --set recipe.attack.steps=4 --no-eval"
    with forked(tmp_path, *there(cluster, words)[1:]) as driver:
        driver.wait_for(lambda: len(epochs(tmp_path)) >= 3)
        before = epochs(tmp_path)
        (node,) = filter(at_work, cluster.worker_nodes)
        cluster.remove_node(node, allow_graceful=False)
        (run,) = find(tmp_path)
        driver.wait_for(
            lambda: len(run.read("provenance.json")["sessions"]) == 2 and len(epochs(tmp_path)) > len(before) + 1
        )
        with pytest.raises(UsageError, match="in use by another process"), run.locked():
            pass
        driver.send(signal.SIGTERM)
        code, out, err = driver.wait(60), driver.stdout, driver.stderr
    assert (code, out) == (75, ""), err
    assert "fire seed 0: its machine or worker process was lost; it continues on another" in err
    assert "the same command continues" in err
    interrupted = epochs(tmp_path)
    assert len(before) < len(interrupted) < 24
    assert interrupted[: len(before)] == before  # their seconds too: no epoch that had arrived was trained again
    assert {path.name for path in run.folder.iterdir()} == {
        ".lock", "plan.json", "provenance.json", "curve.jsonl", "state.pt",
    }  # fmt: skip
    robench(here(words))
    assert epochs(tmp_path)[: len(interrupted)] == interrupted
    assert {path.name for path in run.folder.iterdir()} == {
        ".lock", "plan.json", "provenance.json", "curve.jsonl", "weights.safetensors", "train.json",
    }  # fmt: skip
    robench(here(words + " --output undisturbed"))
    (undisturbed,) = find(tmp_path / "undisturbed")
    assert results(run) == results(undisturbed)


def test_a_bench_through_ray_equals_one_here(tmp_path: Path, robench: Robench) -> None:
    """On this machine alone, which needs no address."""
    pytest.importorskip("ray", reason="Ray has no package for this Python")
    (tmp_path / "mine.py").write_text(MINE)
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (60, 8, 8, 1), np.uint8), random.integers(0, 10, 60)
    np.savez(tmp_path / "extra.npz", image=images, label=labels)
    words = "bench digits --defenses ./mine.py --extra-data extra.npz --seeds 2 --epochs 1 --examples 6"
    line = [sys.executable, "-m", "robench_fire", *words.split(), "--launcher", "ray", "--output", "there"]
    plain = {**os.environ, "RAY_AUTH_MODE": "disabled"}  # leaves no token in the home folder
    ran = subprocess.run(line, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("digits, Linf, eps 0.2, 6 test images\n")
    assert ran.stderr.startswith("Ray: 1 machine, ")
    own = re.compile(r"\d\d:\d\d:\d\d mine seed ")
    assert all(map(own.match, ran.stderr.splitlines()[1:]))  # and not a word of Ray's own
    robench(here(words + " --output here"))
    pairs = list(zip(find(tmp_path / "there"), find(tmp_path / "here"), strict=True))
    assert len(pairs) == 2
    for far, near in pairs:
        assert far.folder.relative_to(tmp_path / "there") == near.folder.relative_to(tmp_path / "here")
        assert {path.name for path in far.folder.iterdir()} == {path.name for path in near.folder.iterdir()}
        assert results(far) == results(near)
        assert [(each["after"], each["reliability"]["siblings"]) for each in far.evaluations()] == [
            (each["after"], each["reliability"]["siblings"]) for each in near.evaluations()
        ]
        (session,) = far.read("provenance.json")["sessions"]
        assert session["command"].startswith("robench bench digits --defenses ./mine.py")
        assert session["threads"] == 1


def test_a_run_that_fails_ends_and_one_that_ends_its_worker_is_given_up(
    tmp_path: Path, cluster: Any, robench: Robench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a defense is tried on two images when it is composed, in this very process
    (tmp_path / "deadly.py").write_text(
        FAILING % "return super().outer(views) if len(views.label) == 2 else os._exit(1)"
    )
    (tmp_path / "diverging.py").write_text(
        FAILING % "return {'nan': (float('nan') if len(views.label) > 2 else 1.0) * super().outer(views)['natural']}"
    )
    monkeypatch.setattr(ray_runs, "RETRIES", 1)
    words = "bench digits --defenses ./deadly.py,./diverging.py,fire --seeds 1 --epochs 1 --no-eval"
    err = robench(there(cluster, words), code=1)
    assert "2 of 3 runs failed; deadly seed 0: its machine or worker process was lost 2 times" in err
    assert "fire seed 0: done" in err
    assert "diverging seed 0: failed" in err
    (failed,) = [run for run in find(tmp_path) if "diverging" in run.folder.parts]
    assert len(failed.read("provenance.json")["sessions"]) == 1  # it was not tried again


@pytest.mark.parametrize(
    ("wanted", "have", "found"),
    [
        ({}, [{"CPU": 4}, {"CPU": 2}], 6),
        ({"slots": 2}, [{"CPU": 5}, {"CPU": 2}, {"memory": 9}], 3),
        ({}, [{"CPU": 8}, {"CPU": 4, "GPU": 2}], 2),
        ({"slots": 3}, [{"CPU": 8}, {"CPU": 4, "GPU": 2}], 1),
        ({"device": "cpu"}, [{"CPU": 8}, {"CPU": 4, "GPU": 2}], 12),
        ({"device": "cuda"}, [{"CPU": 8}], "--device cuda: no machine of the cluster has a GPU; use --device cpu"),
        ({"slots": 9}, [{"CPU": 8}], "--slots 9: the largest machine of the cluster has 8 cores; choose fewer"),
        ({"slots": 5}, [{"CPU": 8}, {"CPU": 4, "GPU": 2}], "--slots 5: the largest machine of the cluster has 4 cores"),
        ({}, [{"memory": 9}], "--slots 1: the largest machine of the cluster has 0 cores; join one that has"),
    ],
)
def test_room(monkeypatch: pytest.MonkeyPatch, wanted: Any, have: list[dict[str, int]], found: int | str) -> None:
    monkeypatch.setattr(ray_cluster, "machines", lambda: have)
    if isinstance(found, int):
        assert ray_cluster.room(ray_cluster.needs(Cluster(**wanted))) == found
    else:
        with pytest.raises(UsageError) as error:
            ray_cluster.needs(Cluster(**wanted))
        assert str(error.value).startswith(found)


@pytest.mark.parametrize(
    ("cluster_there", "said"),
    [
        ({"address": "127.0.0.1:1"}, "--address 127.0.0.1:1: Ray does not answer (Connection refused); start it there"),
        ({"address": "nowhere"}, "--address nowhere: Invalid address format"),
        ({"device": "cuda:1"}, "--device cuda:1: Ray chooses which GPU; choose auto, cpu or cuda"),
    ],
)
def test_a_cluster_that_cannot_be_joined(cluster_there: dict[str, str], said: str) -> None:
    pytest.importorskip("ray", reason="Ray has no package for this Python")
    with pytest.raises(UsageError) as error, joined(Cluster(**cluster_there)):  # type: ignore[arg-type]
        pass
    assert str(error.value).startswith(said)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="install it: pip install ray"), joined(Cluster()):
        pass
