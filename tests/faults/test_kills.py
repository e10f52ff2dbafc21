"""Commands that are killed at drawn moments end as they do in one go: a share of `python -m tests.faults`."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import campaign
import pytest
from commands import BENCHES, EVALUATIONS, PUBLISHED, TRAININGS, Command
from kills import MOST, ORPHANS, Case, Workshop, alive
from moments import quick
from processes import Started, forked, interpreted

pytestmark = pytest.mark.slow

SHARE = {TRAININGS[6]: 8, TRAININGS[4]: 4, EVALUATIONS[0]: 5, PUBLISHED[1]: 4}
"""Kills of each; FIRE+SA keeps most, RST-adv trains two networks."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("command", SHARE, ids=lambda command: command.title)
def test_kills_lose_nothing_and_leave_nothing(workshop: Workshop, command: Command) -> None:
    draw, left, cases = random.Random(command.title), SHARE[command], list[Case]()
    while left:
        cases.append(workshop.interrupted(command._replace(words=command.words[:1]), draw, min(left, MOST)))
        left -= len(cases[-1].kills)
    assert [wrong for case in cases for wrong in case.wrong] == []


@pytest.mark.long
def test_all_of_them(tmp_path: Path) -> None:
    found = campaign.run(campaign.shares(350), tmp_path, 0, 1, lambda found: None)
    assert found["all"]["wrong"] == []


def test_as_many_evaluations_are_killed_as_trainings_of_each_defense() -> None:
    wanted = campaign.shares(350)
    kinds = {
        kind: [kills for title, (_, kills) in wanted.items() if title.startswith(kind)] for kind in campaign.SHARES
    }
    assert kinds["train"] == [50] * 7
    assert (sum(kinds["eval"]), sum(kinds["bench"]), sum(kinds["publish"])) == (50, 25, 25)


def test_what_is_lost_or_left_over_is_counted() -> None:
    bad = Case(
        "robench train", ["SIGKILL after 1 s"], ["weights.safetensors differs", "a.partial is left over"], ["by"]
    )
    told = campaign.counted([bad, Case("robench train", ["SIGTERM after 1 s"] * 2, ways=["by", "by"])])
    assert (told["kills"], told["kills survived"], told["lost"], told["left over"]) == (3, 2, 1, 1)


@pytest.fixture
def in_new_interpreters(tmp_path: Path) -> Iterator[Started]:
    words = "train madry digits --seeds 2 --epochs 300 --no-eval --jobs 2"
    with interpreted(tmp_path, *words.split()) as command:
        yield command


@pytest.fixture
def in_forked_ones(tmp_path: Path) -> Iterator[Started]:
    with forked(tmp_path, *BENCHES[1].words[0].replace("--epochs 1", "--epochs 300").split(), begin=quick) as command:
        yield command


@pytest.mark.parametrize("how", ["in_new_interpreters", "in_forked_ones"])
def test_no_process_outlives_one_that_was_killed(how: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A training in several processes, and a bench."""
    command: Started = request.getfixturevalue(how)
    command.wait_for(lambda: len(list(tmp_path.rglob("curve.jsonl"))) == 2)
    assert len(alive(command.pid)) > 2
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    deadline = time.monotonic() + ORPHANS
    while (left := alive(command.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
