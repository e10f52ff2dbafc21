"""All that has to be known of a GPU, in one budgeted run that keeps what it found, piece by piece.

    python benchmarks/gpu.py --budget 14m --out results/gpu/
    python benchmarks/gpu.py --list
    python benchmarks/gpu.py --device cpu --tiny --out /tmp/gpu     a rehearsal, on any machine

Phases run in order of value, each in a process of its own, so that neither a crash nor a CUDA fault ends the run. What
a phase found is written the moment it ends: the device's class names the file, ``OUT/nvidia-h100-80gb-hbm3.json``,
which holds every phase of that class and is replaced as a whole; beside it ``.tar.gz`` with logs and run folders
without weights. So a class is two files, few enough for any machine, and classes are kept apart. The same command again
skips what is done, tries the rest, and goes on with trainings that were cut; ``--only`` repeats.

The package may be installed or be this checkout's own; the folder where the command is given is no matter. Phases on
real images wait until CIFAR-10 is in the data folder (ROBENCH_DATA), so data may come in parts, between two runs.

Exit 0, also where phases failed: the file says which and why. 2 without the device, 75 or 130 after a signal.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from gpu_phases.running import Folders, Found, archive, class_of, keep, known, probed, run
from gpu_phases.table import NAMES, PHASES, Phase
from rich import box
from rich.console import Console
from rich.table import Table

from robench_fire.errors import RobenchError, UsageError
from robench_fire.files import held
from robench_fire.quantity import duration

UNITS = {"s": 1, "m": 60, "h": 3600}
LEAST = 15.0  # seconds without which nothing is begun
BUSY = "{} is being written by another run; choose another --out"


def seconds(text: str) -> float:
    """``14m``, ``500s``, ``2h``, or a number of seconds."""
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
    try:
        return float(number) * unit
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a budget like 14m, 500s or 2h") from None


def why_not(phase: Phase, free: float | None, cifar10: bool, tiny: bool) -> str | None:
    """Why a phase cannot be run here."""
    if tiny:
        return None
    if phase.cifar10 and not cifar10:
        return "CIFAR-10 is not in the data folder yet (ROBENCH_DATA, `robench data cifar10`)"
    if free is not None and free < phase.memory * 1e9:
        return f"takes {phase.memory:.0f} GB of the device's memory, {free / 1e9:.1f} GB are free"
    return None


def finished(found: dict[str, Found], phase: Phase) -> bool:
    return phase.name in found and found[phase.name]["state"] == "done"


def limit(phase: Phase, left: float, todo: list[Phase]) -> float:
    """The seconds that a phase may take; those that take the rest share it."""
    sharing = sum(each.rest for each in todo) if phase.rest else 1
    return min(phase.limit, left / sharing)


def measure(asked: argparse.Namespace, todo: list[Phase]) -> dict[str, Found]:
    """Run phases until all are done or the budget is over; what is known then."""
    ends = time.monotonic() + asked.budget
    here = probed(asked.device)
    name = class_of(here["about"], asked.tiny)
    folders = Folders(asked.out.resolve(), asked.work.resolve())
    file = folders.out / f"{name}.json"
    with held(folders.work / f"{name}.lock", BUSY.format(file), f"{folders.work} cannot be used"):
        found = known(file)
        todo = [each for each in todo if asked.only or not finished(found, each)]
        while todo:
            phase, left = todo[0], ends - time.monotonic()
            longest = limit(phase, left, todo)
            todo = todo[1:]
            if why := why_not(phase, here["free"], here["cifar10"], asked.tiny):
                found[phase.name] = {**here["about"], "phase": phase.name, "state": "skipped", "error": why}
            elif left < LEAST or longest < phase.estimate * (not asked.tiny):
                say(phase, f"needs about {duration(phase.estimate)}, {duration(max(left, 0))} are left")
                continue  # a later phase may be shorter
            else:
                say(phase, f"{phase.what} (at most {duration(longest)})")
                found[phase.name] = run(phase, here["about"], asked.device, folders.work / name, longest, asked.tiny)
            keep(file, found)
            archive(folders, name)
            one = found[phase.name]
            say(phase, " ".join(filter(None, (one["state"], duration(one.get("seconds", 0)), one["error"]))))
    print(file)
    return found


def say(phase: Phase, text: str) -> None:
    print(f"{phase.name}: {text}", file=sys.stderr, flush=True)


def listed(files: list[Path]) -> Table:
    """All phases, and on which device classes they are done."""
    found = {file.stem: known(file) for file in files}
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("phase", "what", "about", "at most", "done on"):
        table.add_column(column)
    for each in PHASES:
        done = [name for name, phases in found.items() if finished(phases, each)]
        most = "the rest" if each.rest else duration(each.limit)
        table.add_row(each.name, each.what, duration(each.estimate), most, ", ".join(done) or "–")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=seconds, default=seconds("14m"), help="14m, 500s or 2h; 14m by default.")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="Where what was found is kept.")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "robench-gpu", help="Logs and runs.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu.")
    parser.add_argument("--tiny", action="store_true", help="Every phase in miniature: a rehearsal, kept apart.")
    parser.add_argument("--only", nargs="+", metavar="PHASE", choices=NAMES, help="Only these, also if they are done.")
    parser.add_argument("--list", action="store_true", help="What there is to measure, and what is done.")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    try:
        if asked.list:
            Console().print(listed(sorted(asked.out.glob("*.json"))))
            return
        if asked.device == "cpu" and not asked.tiny:
            raise UsageError("--device cpu measures nothing of a GPU; with --tiny it rehearses every phase")
        todo = [each for each in PHASES if not asked.only or each.name in asked.only]
        if asked.tiny:  # several phases are the same in miniature
            todo = list({(each.script, each.tiny): each for each in reversed(todo)}.values())[::-1]
        measure(asked, todo)
    except RobenchError as fault:
        print(fault, file=sys.stderr)
        raise SystemExit(fault.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
