"""Time limits of one's own stop as a signal does; one in which nothing can be kept is said to be too short."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from processes import forked

from robench_fire import stopping
from robench_fire.cli.common import reading
from robench_fire.cli.measure import _kept_or_said
from robench_fire.errors import UsageError
from robench_fire.runs.folders import find
from robench_fire.training import saving


def test_a_time_limit_stops_as_a_signal_does(tmp_path: Path) -> None:
    words = "train madry digits --seeds 1 --epochs 2000 --no-eval --time-limit 4s"
    with forked(tmp_path, *words.split()) as command:
        assert command.wait(60) == 75, command.stderr
    (run,) = find(tmp_path)
    assert not run.trained
    saving.read(run.folder / "state.pt", torch.device("cpu"))


def test_a_time_limit_in_which_nothing_can_be_kept(tmp_path: Path) -> None:
    """A job that is queued again at exit code 75 would never end."""
    with forked(tmp_path, *"train madry digits --seed 0 --no-eval --time-limit 0.01s".split()) as command:
        assert command.wait(60) == 2
        last = command.stderr.splitlines()[-1]
    assert last == "robench: --time-limit 0.01s was over before anything new was kept; give more"


def test_a_signal_before_anything_is_kept(tmp_path: Path) -> None:
    with pytest.raises(stopping.InVain, match="interrupted before anything new") as vain, _kept_or_said(tmp_path, [3]):
        raise stopping.Stopped(signal.SIGUSR1)
    assert vain.value.exit_code == 75
    with pytest.raises(stopping.Stopped) as asked, _kept_or_said(tmp_path, [3]):
        raise stopping.Stopped(signal.SIGINT)
    assert type(asked.value) is stopping.Stopped  # nobody's time was up
    seed = tmp_path / "digits" / "Linf" / "fire" / "0123" / "seed-3"
    seed.mkdir(parents=True)
    (seed / "plan.json").touch()
    with pytest.raises(stopping.Stopped) as stopped, _kept_or_said(tmp_path, [3]):  # noqa: PT012
        (seed / "state.pt").touch()
        raise stopping.Stopped(signal.SIGUSR1)
    assert type(stopped.value) is stopping.Stopped


@pytest.mark.parametrize(
    ("text", "said"), [("soon", "'soon' is no duration"), ("0", "0: nothing can be done in no time")]
)
def test_a_time_limit_that_is_none(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"--time-limit {said}"):
        reading.limited(text)
