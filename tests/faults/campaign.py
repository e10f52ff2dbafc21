"""Many kills, spread over the commands, and what they came to."""

from __future__ import annotations

import json
import multiprocessing
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import byte_changes
import torch
from commands import CORE, GROUPS, Command
from kills import MOST, Case, Workshop
from verified_runs import finished

from robench_fire.runs.folders import find

ROOT = Path(__file__).resolve().parents[2]
SHARES = {"train": 1.0, "eval": 1 / len(CORE), "bench": 0.5 / len(CORE), "publish": 0.5 / len(CORE)}
"""Kills of a kind of command, as a share of those that are asked for: as many evaluations as trainings of a defense."""


def shares(kills: int) -> dict[str, tuple[Command, int]]:
    """How often each command is to be killed, by its title."""
    found = {}
    for kind, share in SHARES.items():
        wanted, commands = round(kills * share), GROUPS[kind]
        for place, command in enumerate(commands):
            own = wanted // len(commands) + (place < wanted % len(commands))
            if own:
                found[command.title] = (command, own)
    return found


def killed(command: Command, kills: int, folder: Path, seed: int) -> list[Case]:
    """Cases of a command until it has been killed so often; the moments depend on ``seed`` and its title."""
    say = partial(print, flush=True)
    shop, cases, left, draw = Workshop(folder), list[Case](), kills, random.Random(f"{seed} {command.title}")
    while left:
        cases.append(shop.interrupted(command, draw, min(left, MOST)))
        left -= len(cases[-1].kills)
        for wrong in cases[-1].wrong:
            say(f"{command.title}: {wrong} (case {len(cases)}, seed {seed}: {cases[-1].command})")
    say(f"{command.title}: {kills} kills in {len(cases)} cases")
    return cases


def run(
    wanted: dict[str, tuple[Command, int]], folder: Path, seed: int, jobs: int, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Kill all that is wanted; what came of it, as JSON, which ``keep`` hears after each command too.

    In ``jobs`` processes: in threads, one that looks after its command could take the exit code of another's.
    """
    began, found, about = time.monotonic(), dict[str, list[Case]](), _about(seed)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        begun = {
            pool.submit(killed, command, kills, folder / str(place), seed): title
            for place, (title, (command, kills)) in enumerate(wanted.items())
        }
        for each in as_completed(begun):
            found[begun[each]] = each.result()
            keep(result := about | {"seconds": round(time.monotonic() - began)} | _told(found, list(wanted)))
    return result


def _told(found: dict[str, list[Case]], order: list[str]) -> dict[str, Any]:
    found = {title: found[title] for title in order if title in found}
    return {
        "all": counted(case for cases in found.values() for case in cases),
        "commands": {title: counted(cases) for title, cases in found.items()},
        "moments": {title: [kill for case in cases for kill in case.kills] for title, cases in found.items()},
    }


def bytes_changed(folder: Path) -> dict[str, Any]:
    """Of each file of a run that is made in ``folder``: how many changes of a byte were found, of no effect, missed."""
    (run, *_) = find(finished(folder))
    came = {name: byte_changes.drawn(run, name) for name in byte_changes.FILES}
    for name in byte_changes.JSONS:
        came[name] += byte_changes.every(run, name, folder / "changed.json")
    kinds = ("found", "same values", "missed")
    total = sum(came.values(), Counter[str]())
    return {"all": {kind: total[kind] for kind in kinds}, "files": {name: dict(each) for name, each in came.items()}}


def counted(cases: Iterable[Case]) -> dict[str, Any]:
    """Of these cases: how often they were killed, how, and everything that went wrong."""
    cases = list(cases)
    kills = [kill for case in cases for kill in case.kills]
    return {
        "cases": len(cases),
        "kills": len(kills),
        "kills survived": len(kills) - sum(len(case.kills) for case in cases if case.wrong),
        "signals": dict(sorted(Counter(kill.split()[0] for kill in kills).items())),
        "moments": dict(sorted(Counter(way for case in cases for way in case.ways).items())),
        "most in one": max((len(case.kills) for case in cases), default=0),
        "lost": sum("differs" in wrong or "missing" in wrong for case in cases for wrong in case.wrong),
        "left over": sum("left" in wrong for case in cases for wrong in case.wrong),
        "wrong": [wrong for case in cases for wrong in case.wrong],
        "seconds": round(sum(case.seconds for case in cases)),
    }


def _about(seed: int) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "command": f"python -m tests.faults {' '.join(sys.argv[1:])}",
        "seed": seed,
        "commit": commit.stdout.strip(),
        "platform": f"{platform.system()} on {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def written(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
