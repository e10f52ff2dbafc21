"""A command, interrupted and given again until it is done, comes to what it comes to in one go, and leaves no more."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from commands import Command
from contents import finished, tree
from moments import Moment, changes, drawn, quick, watched
from processes import Started, forked

from robench_fire.errors import RobenchError
from robench_fire.runs.folders import find
from robench_fire.training import saving

MOST = 6  # interruptions of one command
EARLY = 0.6  # the share of a command that all moments but the last lie in, as one that goes on has less to do
ORPHANS = 10.0  # seconds in which the processes of a killed one must have ended


@dataclass(frozen=True)
class Whole:
    """A command that nothing interrupted: how long it took, the changes it made, and what it left."""

    seconds: float
    changes: tuple[str, ...]
    left: dict[str, Any]


@dataclass
class Case:
    """What became of a command that was interrupted; ``wrong``: everything that should not have been."""

    command: str
    kills: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Workshop:
    """A folder in which commands are run; what several begin with is made there once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made, self._wholes = dict[tuple[str, ...], Path](), dict[tuple[str, ...], Whole]()
        folder.mkdir(parents=True, exist_ok=True)

    def begun(self, lines: tuple[str, ...], folder: Path) -> None:
        """Let ``folder`` be what these command lines leave, one after the other."""
        if not lines:
            folder.mkdir()
            return
        if lines not in self._made:
            made = self._folder / f"made-{len(lines)}-{len(self._made)}"
            self.begun(lines[:-1], made)
            run(made, lines[-1])
            self._made[lines] = made
        shutil.copytree(self._made[lines], folder)

    def whole(self, command: Command, line: str) -> Whole:
        key = (*command.before, line)
        if key not in self._wholes:
            folder = self._folder / f"whole-{len(self._wholes)}"
            self.begun(command.before, folder)
            self._wholes[key] = run(folder, line)
        return self._wholes[key]

    def interrupted(self, command: Command, draw: random.Random, most: int = MOST) -> Case:
        """A command in a folder of its own, interrupted up to ``most`` times, then given until it is done."""
        line, began, folder = draw.choice(command.words), time.monotonic(), self._folder / "case"
        whole, case = self.whole(command, line), Case(f"robench {line}")
        self.begun(command.before, folder)
        old, last = finished(tree(folder)), (0, 0)
        shares = [EARLY] * (min(draw.randint(1, MOST), most) - 1) + [1.0]
        for share in shares:
            moment = drawn(draw, share * whole.seconds, int(share * len(whole.changes)), command.single)
            if not interrupt(folder, line, moment, case):
                break
            last = _check(folder, old, whole, case, last)
        try:
            run(folder, line)
            compare(tree(folder), whole.left, case)
        except (AssertionError, RobenchError) as fault:
            case.wrong.append(f"given again: {fault}")
        shutil.rmtree(folder)
        case.seconds = time.monotonic() - began
        return case


def run(folder: Path, line: str) -> Whole:
    """A command to its good end."""
    began = time.monotonic()
    with changes() as made, forked(folder, *line.split(), begin=partial(_begin, made.path, 0, folder)) as started:
        while started.poll() is None:
            made.listen(0.02)
        said, code = tuple(made.listen(0)), started.poll()
        assert code == 0, f"exit code {code}: {started.stderr}"
    return Whole(time.monotonic() - began, said, tree(folder))


def _begin(fifo: str, held: int, folder: Path) -> None:
    quick()
    (temporary := folder / "temporary").mkdir(exist_ok=True)
    watched(fifo, held, str(temporary))


def interrupt(folder: Path, line: str, moment: Moment, case: Case) -> bool:
    """Whether the moment came while the command ran; then it has been interrupted."""
    with (
        changes() as made,
        forked(folder, *line.split(), begin=partial(_begin, made.path, moment.held, folder)) as started,
    ):
        began = time.monotonic()
        while started.poll() is None and len(made.listen(0.02)) < moment.change:
            pass
        wait = moment.seconds - (0 if moment.change else time.monotonic() - began)
        if moment.change or wait > 0:
            time.sleep(max(0.0, wait))
        if started.poll() is None:
            started.send(moment.signum)
        code = started.wait(60)
        if code == 0:
            return False
        case.ways.append(moment.way)
        at = f", {made.said[moment.change - 1]}" if len(made.said) >= moment.change > 0 else ""
        name = signal.Signals(moment.signum).name
        case.kills.append(f"{name} after {time.monotonic() - began:.2f} s, {moment.way}{at}")
        _ended(started, moment, code, case)
    return True


def _ended(started: Started, moment: Moment, code: int, case: Case) -> None:
    """What an interrupted process leaves of itself: its exit code, a line, and no other process."""
    usual = (-signal.SIGKILL,) if moment.signum == signal.SIGKILL else (75, -signal.SIGTERM)  # before it is heard
    if code not in usual:
        case.wrong.append(f"{case.kills[-1]}: exit code {code}: {started.stderr[-300:]}")
    if "Traceback" in started.stderr:
        case.wrong.append(f"{case.kills[-1]}: {started.stderr[-600:]}")
    deadline = time.monotonic() + ORPHANS
    while left := alive(started.pid):
        if time.monotonic() > deadline:
            case.wrong.append(f"{case.kills[-1]}: processes {left} were left")
            return
        time.sleep(0.05)


def alive(group: int) -> list[int]:
    """The processes of a group that are not dead."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, of, state in rows if int(of) == group and not state.startswith("Z")]


def _check(folder: Path, old: dict[str, Any], whole: Whole, case: Case, last: tuple[int, int]) -> tuple[int, int]:
    """Whatever has its name is whole, and a training has not lost what it had saved; how far it is."""
    now = (0, 0)
    try:
        for name, found in finished(tree(folder)).items():
            if name in whole.left and not (found == old.get(name) or _agrees(found, whole.left[name])):
                case.wrong.append(f"{case.kills[-1]}: {name} is half-written")
        for run in find(folder):
            if run.trained:
                now = (run.read("plan.json")["recipe"]["epochs"], 0)
            elif saving.there(file := run.folder / "state.pt"):
                now = max(now, saving.reached(saving.read(file, torch.device("cpu"))))
    except RobenchError as fault:
        case.wrong.append(f"{case.kills[-1]}: {fault}")
    if now < last and case.command.startswith("robench train"):
        case.wrong.append(f"{case.kills[-1]}: it had got to {last}, and is at {now}")
    return now


def _agrees(found: Any, whole: Any) -> bool:
    """Whether it is the same, or so much of it as there may be before the end."""
    if isinstance(found, list) and isinstance(whole, list):
        return bool(found == whole[: len(found)])
    if isinstance(found, dict) and isinstance(whole, dict):
        return all(name in whole and each == whole[name] for name, each in found.items())
    return bool(found == whole)


def compare(found: dict[str, Any], whole: dict[str, Any], case: Case) -> None:
    for name in sorted({*found} | {*whole}):
        if name not in whole:
            case.wrong.append(f"{name} is left over")
        elif name not in found:
            case.wrong.append(f"{name} is missing")
        elif found[name] != whole[name]:
            case.wrong.append(f"{name} differs")
