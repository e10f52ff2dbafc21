"""How time and memory grow: a training step and an epoch, listing runs, and the table of a board.

    python benchmarks/growth.py [--json results/growth.json] [--rounds 3] [--only rows,runs]

One size of one thing is larger each time, everything else stays: ``batch``, ``width`` and ``steps`` of a FIRE step on
WRN-10-W with random images, ``images`` of an epoch and ``seeds`` trained together on the digits' own network, ``runs``
that `robench ls runs` lists, ``rows`` of a board that `robench table` prints. A training is measured in a process of
its own, after a first step that is not counted; a command from its start to its end. Sizes take turns, round by round.
Seconds are the processor's, of all threads, which another program beside it moves less than those on the wall.

An exponent is the slope of a straight line through the logarithms, by least squares: 1 where twice the size takes
twice as much. The second one is between the two largest sizes alone, where what does not grow weighs least.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import torch
from step_meters import Step, peak

from robench_fire.boards.model_info import find_rows, to_model_info, with_seal
from robench_fire.files import write_json
from robench_fire.problem.dataset import Split
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs import provenance
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import read_json
from robench_fire.training.engine import prepared
from robench_fire.training.epoch import train_epoch
from robench_fire.training.setup import Problem

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
ROBENCH = (sys.executable, "-m", "robench_fire")
MEASURED = """
import atexit, sys, time
from pathlib import Path
most = lambda: Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
atexit.register(lambda: print(time.process_time(), most(), file=sys.stderr))
from robench_fire.__main__ import main
main()
"""
RUNS_OF_A_PLAN = 5
TIMES = 3  # that a process repeats a step


class Axis(NamedTuple):
    """``what`` grows, in ``sizes``; ``stays``: what does not."""

    what: str
    sizes: tuple[int, ...]
    stays: str


AXES = {
    "batch": Axis("images of a batch", (16, 32, 64, 128), "a FIRE step, 10 attack steps, WRN-10-1"),
    "width": Axis("width of WRN-10-W", (1, 2, 4), "a FIRE step, 10 attack steps, 16 images"),
    "steps": Axis("attack steps", (5, 10, 20, 40), "a FIRE step, 32 images, WRN-10-1"),
    "images": Axis("training images", (500, 1000, 2000, 4000), "an epoch of FIRE, DigitsCNN, batches of 128"),
    "seeds": Axis("seeds together", (1, 2, 4, 8), "a FIRE step of each, DigitsCNN, batches of 128"),
    "runs": Axis("runs in a folder", (10, 100, 1000), "`robench ls runs`, whole command"),
    "rows": Axis("rows of a board", (100, 1000, 10_000), "`robench table BOARD`, whole command"),
}
USUAL = {"batch": 32, "width": 1, "steps": 10, "images": 128, "seeds": 1}
DIGITS = ("images", "seeds")


def step_of(axis: str, size: int) -> Step:
    """A training step, or an epoch, of one size."""
    sizes = USUAL | ({"batch": 16} if axis == "width" else {}) | {axis: size}
    digits = axis in DIGITS
    dataset, arch = ("digits", "digits-cnn") if digits else ("cifar10", f"wrn-10-{sizes['width']}")
    composed = compose(Request(defense="fire", dataset=dataset, arch=arch, epochs=10**6))
    recipe, shape = composed.plan.recipe, composed.dataset.shape
    batch = min(sizes["images"], 128) if digits else sizes["batch"]
    assert isinstance(recipe.attack, Pgd)
    recipe = replace(recipe, batch_size=batch, attack=replace(recipe.attack, steps=sizes["steps"]))
    count = sizes["images"] if digits else batch
    images = Split(torch.randint(256, (count, *shape), dtype=torch.uint8), torch.randint(10, (count,)))
    problem = Problem(composed.plan.defense, composed.plan.threat, recipe, images, images, 10)
    state, setup = prepared(composed.build, problem, list(range(sizes["seeds"])), CPU)
    known: set[int] = set()
    return lambda: train_epoch(state, setup, 1, known, lambda done, rate: None)


def trained(axis: str, size: int) -> tuple[float, float]:
    """Seconds and MB of a step of that size, in this process; MB beyond what was there before it."""
    steps: list[Step] = []

    def make() -> Step:
        steps.append(step_of(axis, size))
        return steps[0]

    most = peak(make, CPU)  # two steps, of which the first warms up
    started = process_time()
    for _ in range(TIMES):
        steps[0]()
    return (process_time() - started) / TIMES, most


def apart(axis: str, size: int) -> tuple[float, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--point", axis, str(size)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, most = ran.stdout.split()[-2:]
    return float(seconds), float(most)


def commanded(words: Sequence[str]) -> tuple[float, float]:
    """Seconds and MB at the peak of a whole command, which it says itself when it ends."""
    command = [sys.executable, "-c", MEASURED, *words]
    ran = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds, most = ran.stderr.split()[-2:]
    return float(seconds), int(most) / 1000


def make_board(folder: Path, count: int) -> Path:
    """A board of the committed rows of digits, each under many rates and decays, as a large sweep would make it."""
    place = folder / f"board-{count}" / "digits" / "Linf"
    place.mkdir(parents=True)
    rows = find_rows(ROOT / "leaderboards" / "digits" / "Linf")
    settings = product(range(1, 101), range(1, 101), rows)
    for number, (decay, rate, row) in zip(range(count), settings, strict=False):
        plan = copy.deepcopy(row.plan)
        plan["recipe"]["optimiser"] |= {"lr": rate / 200, "weight_decay": decay / 10_000}
        own = replace(row, plan=plan, fingerprint=plan_fingerprint(plan))
        text = json.dumps(with_seal(to_model_info(own)), indent=2, ensure_ascii=False)
        (place / f"{row.paper['key']}_{number}.json").write_text(text + "\n", encoding="utf-8")
    return folder / f"board-{count}"


def make_runs(folder: Path, count: int, one: Path) -> Path:
    """Copies of a finished run's files, seeds of plans that differ in FIRE's weight."""
    output = folder / f"runs-{count}"
    plan = read_json(one / "plan.json")
    files = [path for path in sorted(one.iterdir()) if path.suffix in (".json", ".jsonl", ".npy")]
    for number in range(count):
        plan["defense"]["lam"] = 1.0 + number // RUNS_OF_A_PLAN
        place = output / "digits" / "Linf" / "fire" / plan_fingerprint(plan) / f"seed-{number % RUNS_OF_A_PLAN}"
        place.mkdir(parents=True)
        for path in files:
            (place / path.name).write_bytes(path.read_bytes())
        (place / "plan.json").write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
        (place / "weights.safetensors").touch()
    return output


def one_run(folder: Path) -> Path:
    """A tiny training with its evaluation."""
    words = "train fire digits --epochs 1 --seeds 1 --attack pgd20 --output".split()
    subprocess.run([*ROBENCH, *words, folder / "one"], check=True, capture_output=True)
    return next((folder / "one").rglob("seed-0"))


def measures(axis: str, folder: Path) -> dict[int, Callable[[], tuple[float, float]]]:
    """By size, what measures it once."""
    sizes = AXES[axis].sizes
    if axis == "rows":
        return {size: partial(commanded, ["table", str(make_board(folder, size))]) for size in sizes}
    if axis == "runs":
        one = one_run(folder)
        return {size: partial(commanded, ["ls", "runs", "--output", str(make_runs(folder, size, one))])
                for size in sizes}  # fmt: skip
    return {size: partial(apart, axis, size) for size in sizes}


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The exponent of a power of the size, by least squares of the logarithms."""
    return statistics.linear_regression(list(map(math.log, sizes)), list(map(math.log, values))).slope


def grown(axis: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Medians of every size of one thing, and their exponents."""
    each = measures(axis, folder)
    found: dict[int, list[tuple[float, float]]] = {size: [] for size in each}
    for _ in range(rounds):
        for size, measure in each.items():
            found[size].append(measure())
    told: dict[str, Any] = {"what": AXES[axis].what, "stays": AXES[axis].stays, "sizes": list(each)}
    for number, name in enumerate(("seconds", "MB")):
        values = [statistics.median(once[number] for once in taken) for taken in found.values()]
        told[name] = [float(f"{value:.4g}") for value in values]
        told[f"exponents of {name}"] = [round(slope(*ends), 2) for ends in (
            (list(each), values), (list(each)[-2:], values[-2:]))]  # fmt: skip
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="Some of them, as in rows,runs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--point", nargs=2, metavar=("AXIS", "SIZE"), help="Measure a training of one size, once.")
    asked = parser.parse_args()
    if asked.point:
        print(*trained(asked.point[0], int(asked.point[1])))
        return
    wanted = asked.only.split(",") if asked.only else list(AXES)
    about = {"device": provenance.device_name(CPU), "threads": torch.get_num_threads(), "torch": torch.__version__,
             "commit": provenance.commit(), "rounds": asked.rounds}  # fmt: skip
    known: dict[str, Any] = {}
    if asked.json and asked.json.exists():  # what is not measured now stays
        known = read_json(asked.json)["axes"]
    for axis in wanted:
        with tempfile.TemporaryDirectory() as folder:
            known[axis] = grown(axis, Path(folder), asked.rounds) | about
        print(axis, known[axis], flush=True)
        if asked.json:
            write_json(asked.json, {"axes": {name: known[name] for name in AXES if name in known}})


if __name__ == "__main__":
    main()
