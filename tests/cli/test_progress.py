"""What an evaluation says while it runs: each attack in turn, how much is left, and how sure that is."""

from __future__ import annotations

import io
import re

import pytest
import torch
from evaluated_models import evaluate
from rich.console import Console

from robench_fire.launching import progress_display
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Splits
from robench_fire.problem.threat import Linf
from robench_fire.progress import Event
from robench_fire.quantity import Quantity
from robench_fire.training.engine import _note


@pytest.mark.slow
@pytest.mark.usefixtures("brief_attacks")
def test_each_attack_tells_how_far_it_is(small: Splits) -> None:
    told: list[tuple[str, int, int, str]] = []
    torch.manual_seed(0)
    result = evaluate(
        "aa", DigitsCNN(), small.test, Linf(eps=Quantity("0.02")), num_classes=10, seed=0, batch_size=32,
        report=lambda *said: told.append(said),
    )  # fmt: skip
    assert list(dict.fromkeys(name for name, *_ in told)) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    for name, accuracy in result.after.items():
        mine = [said for said in told if said[0] == name]
        assert [done for _, done, _, _ in mine] == sorted(done for _, done, _, _ in mine)
        _, done, total, note = mine[-1]
        assert done == total
        found = re.fullmatch(r"(\d+)/64 robust, ([\d.]+) % \[([\d.]+), ([\d.]+)\]", note)
        assert found is not None
        assert float(found[2]) == round(accuracy, 2)
        assert float(found[3]) <= accuracy <= float(found[4])


@pytest.mark.parametrize("terminal", [True, False])
def test_what_looks_like_markup_is_shown_as_it_is(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(progress_display, "stderr", console)
    with progress_display.listening(2, "a[/b]: 2 runs") as listen:
        listen(Event("run[a]", "train", 1, 2, "in [/__w/pytorch/x.cc:1]"))
        listen(Event("run[a]", "failed", 2, 2, "[enforce fail at x.cc:6] no room in [/b]"))
        progress_display.say("[red]said[/blue]")
    for said in ("run[a]", "[enforce fail at x.cc:6] no room in [/b]", "[red]said[/blue]"):
        assert said in out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("resumed", [0, 10])
def test_a_narrow_terminal_keeps_loss_validation_rate_and_time_left(
    width: int, resumed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(
        progress_display, "stderr", Console(file=out, width=width, force_terminal=True, color_system=None)
    )
    note = _note([{"loss": 1.2345, "clean": 80.12, "robust": 50.25}]) + "12,345 img/s"
    with progress_display.listening(5, "cifar10: 5 runs") as listen:
        listen(Event("self_adaptive seed 4", "train", resumed, 100, note))
        listen(Event("self_adaptive seed 4", "train", 50, 100, note))
    lines = [line for line in re.split(r"[\r\n]", out.getvalue()) if "self_adaptive" in line]
    assert all("loss 1.234, val 80.1/50.2, 12,345 img/s" in line for line in lines)
    assert any(re.search(r"50%|50/100", line) for line in lines)
    assert all(re.search(r"-?-:--|\d+:\d\d", line) for line in lines)  # the time left, once it is known


def test_a_log_has_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress_display, "stderr", Console(file=out, width=200))
    with progress_display.listening(1, "digits") as listen:
        listen(Event("fire seed 0", "train", 1, 10, "loss 1.0"))
        listen(Event("fire seed 0", "done", 1, 1, ""))
    assert [re.sub(r"\d\d:\d\d:\d\d", "TIME", line) for line in out.getvalue().splitlines()] == [
        "TIME fire seed 0: train 10 % loss 1.0", "TIME fire seed 0: done (1 of 1)",
    ]  # fmt: skip
