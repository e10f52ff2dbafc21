"""A seed trained by torchrun: one process speaks, and a killed run goes on in one process."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from command_line import robench
from needs import defense_file
from processes import Started, forked, interpreted

from robench_fire.errors import RecipeError
from robench_fire.launching import distributed
from robench_fire.launching.training_stage import Workplace
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import Run

pytestmark = pytest.mark.slow

TRAIN = ["train", "fire", "digits", "--seeds", "1", "--epochs", "3", "--device", "cpu"]
SLOW = ["--set", "recipe.attack.steps=15", "--no-eval"]  # there is time to kill it between two epochs

Begin = Callable[..., AbstractContextManager[Started]]


def two_processes(begin: Begin, output: Path, *words: str) -> AbstractContextManager[Started]:
    """torchrun, itself in a new interpreter or forked, with two new interpreters."""
    launcher = ["--standalone", "--nproc-per-node", "2", "-m", "robench_fire"]
    return begin(Path(), *launcher, *words, "--output", str(output), module="torch.distributed.run")


def rows(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()]


def the_run(output: Path, seed: int = 0) -> Run:
    return Run(next(output.glob(f"digits/Linf/fire/*/seed-{seed}")))


def close(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    """In float32 a step of the attack that rounds to the other side changes what follows a little."""
    assert [row["lr"] for row in found] == [row["lr"] for row in expected]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], rel=0.02)
    assert [row["clean"] for row in found] == pytest.approx([row["clean"] for row in expected], abs=6)


def stop(*_: Any) -> None:
    raise RuntimeError("killed")


def test_torchrun_trains_and_the_first_process_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 0 has been begun by one process, seed 1 by none."""
    words = [*TRAIN, "--epochs", "2", "--attack", "pgd20", "--examples", "50", "--jobs", "1"]
    one, two = tmp_path / "one", tmp_path / "two"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_curve", stop)
        assert robench(*words, "--output", str(two)) == 1
    assert robench(*words, "--seeds", "2", "--output", str(one)) == 0
    with two_processes(interpreted, two, *words, "--seeds", "2") as process:
        code = process.wait()
        said = process.stdout + process.stderr
    assert code == 0, said
    assert said.count("trained by 2 processes") == 2
    assert said.count("FIRE") == 1  # its row
    for seed, sessions in ((0, [1, 2]), (1, [2])):
        found, expected = the_run(two, seed), the_run(one, seed)
        close(rows(found), rows(expected))
        assert found.folder.parent.name == expected.folder.parent.name  # the number of processes is not in the plan
        arithmetic = expected.read("train.json")["arithmetic"]
        assert found.read("train.json")["arithmetic"] == arithmetic | {"processes": "2"}
        assert [each["processes"] for each in found.read("provenance.json")["sessions"]] == sessions
        assert [each["examples"] for each in found.evaluations()] == [50]
        assert not (found.folder / "state.pt").exists()


@pytest.mark.parametrize("name", ["batch term", "slopes"])
def test_what_processes_cannot_give_to_a_loss_is_said_first(tmp_path: Path, name: str) -> None:
    asked = Request(defense=defense_file(tmp_path, name), dataset="digits")
    place = Workplace(output=tmp_path / "runs", data=tmp_path, device="cpu")
    with pytest.raises(RecipeError, match=r"several processes cannot train \w+: its loss .*; use one device$"):
        distributed.train(asked, [0], place, pytest.fail, pytest.fail)
    assert not place.output.exists()


def test_processes_end_with_torchrun(tmp_path: Path) -> None:
    """Killed, it cannot end them."""
    with two_processes(forked, tmp_path, *TRAIN, "--epochs", "500", "--no-eval") as process:
        process.wait_for(lambda: list(tmp_path.glob("digits/Linf/fire/*/seed-0/curve.jsonl")))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) >= 2
        process.send(signal.SIGKILL)
        deadline = time.monotonic() + 40
        while any(_runs(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert len(rows(the_run(tmp_path))) < 500


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_killed_in_two_processes_continues_in_one(tmp_path: Path) -> None:
    slow, tmp_path = tmp_path / "one", tmp_path / "two"
    assert robench(*TRAIN, *SLOW, "--output", str(slow)) == 0
    with two_processes(forked, tmp_path, *TRAIN, *SLOW) as process:
        process.wait_for(lambda: list(tmp_path.glob("digits/Linf/fire/*/seed-0/curve.jsonl")))
        process.send(signal.SIGTERM)
        process.wait(60)
        said = process.stdout + process.stderr
    assert said.count("robench: interrupted; what was done") == 1
    done = len(rows(the_run(tmp_path)))
    assert 1 <= done < 3
    first = rows(the_run(tmp_path))
    assert robench(*TRAIN, *SLOW, "--output", str(tmp_path)) == 0
    assert rows(the_run(tmp_path))[:done] == first
    close(rows(the_run(tmp_path)), rows(the_run(slow)))
    assert [each["processes"] for each in the_run(tmp_path).read("provenance.json")["sessions"]] == [2, 1]
