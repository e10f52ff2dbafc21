"""The CIFAR-10 board: seven defenses, and FIRE with hidden labels, on the short profile, seed by seed.

    python benchmarks/cifar10_board.py plan                     what is left to do, and what it costs here
    timeout 10m python benchmarks/cifar10_board.py run          as much as fits; the same command again continues
    python benchmarks/cifar10_board.py strength                 FIRE's strengths beside TRADES, once they are run
    python benchmarks/cifar10_board.py collect --into small     results without weights, to carry to another machine
    robench table small/board --publish leaderboards            the board of everything collected there

Order: seed 0 of all seven, of FIRE with hidden labels, of FIRE's other strengths; then seed 1 of the first eight, and
so on, so that any slice of time adds rows. All verbs take the same options. Runs lie in OUTPUT/board, those of the
other strengths in OUTPUT/strength, so that no board mixes them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from robench_fire.boards.rows import collect as collected
from robench_fire.boards.rows import ranked
from robench_fire.cli.common.reading import epochs, seeds, settings
from robench_fire.cli.measure import FIRE_TABLE
from robench_fire.costs.estimate import estimate
from robench_fire.costs.work import work
from robench_fire.data.fetching import data_folder
from robench_fire.devices.device import resolve, use
from robench_fire.errors import RobenchError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.bench import bench
from robench_fire.launching.progress_display import listening, say
from robench_fire.launching.seed import run_folder
from robench_fire.launching.training_stage import Workplace
from robench_fire.quantity import duration
from robench_fire.runs import folders
from robench_fire.runs.compose import Request, compose
from robench_fire.statistics.summary import mean_std
from robench_fire.tables import render
from robench_fire.tables.entries import of_row

BOARD, STRENGTH = "board", "strength"
HIDDEN = "fire, hidden labels"
STRENGTHS = {"lam 20": ("defense.lam", "20"), "geodesic": ("defense.distance", "geodesic")}
"""FIRE as its released code weighs it, and as its paper writes it; the first seed only."""


class Slice(NamedTuple):
    """Rows by name, of different defenses, whose ``seed`` comes next, and the folder of their runs."""

    seed: int
    rows: dict[str, Request]
    output: Path


def board(asked: argparse.Namespace) -> dict[str, Request]:
    """The rows of the board, by name."""
    own = Request(
        defense="", dataset=asked.dataset, profile="short", arch=asked.arch, epochs=epochs(asked.epochs),
        settings=settings(asked.batch_size, "", asked.precision, "", None),
    )  # fmt: skip
    rows = {name: replace(own, defense=name) for name in FIRE_TABLE.split(",")}
    return rows | {HIDDEN: replace(rows["fire"], hide_labels=True)}


def strengths(asked: argparse.Namespace) -> dict[str, Request]:
    """FIRE at its other strengths, by name."""
    fire = board(asked)["fire"]
    return {
        f"fire, {name}": replace(fire, settings=(*fire.settings, ("--set", *setting)))
        for name, setting in STRENGTHS.items()
    }


def slices(asked: argparse.Namespace) -> Iterator[Slice]:
    """Everything, in the order of work."""
    rows = board(asked)
    hidden = rows.pop(HIDDEN)
    for position, seed in enumerate(seeds(asked.seeds)):
        yield Slice(seed, rows, asked.output / BOARD)
        yield Slice(seed, {HIDDEN: hidden}, asked.output / BOARD)
        if position == 0:
            for name, request in strengths(asked).items():
                yield Slice(seed, {name: request}, asked.output / STRENGTH)


def plan(asked: argparse.Namespace) -> None:
    """Print every row's seeds that are not trained, and what they cost on this machine."""
    device, known = torch.device(resolve(asked.device)), dict[str, float]()
    use(device)
    todo: dict[str, list[int]] = {}
    for seed, rows, output in slices(asked):
        for name, request in rows.items():
            left = [] if run_folder(compose(request), output, seed).trained else [seed]
            todo[name] = todo.get(name, []) + left
    title = f"{asked.dataset}, {asked.arch}, AutoAttack on the first {asked.examples:,} test images, on {device}"
    drawn, total = _table(title, "seeds left", "epochs", "forwards\nan update", "training\na seed", "in all"), 0.0
    for name, request in (board(asked) | strengths(asked)).items():
        composed = compose(request)
        recipe, each = composed.plan.recipe, estimate(composed, device, known)
        cost = work(composed.plan.defense, recipe).forward_equivalents
        times = (duration(each), duration(each * len(todo[name])))
        drawn.add_row(name, _listed(todo[name]), str(recipe.epochs), str(cost), *times)
        total += each * len(todo[name])
    Console().print(drawn)
    print(f"training: about {duration(total)}, one run at a time; evaluation not counted")


def run(asked: argparse.Namespace) -> None:
    """Train and evaluate what is not there yet, and print the board.

    Raises:
        RobenchError: of the first run that failed, once everything else is done.
    """
    place = Workplace(
        output=asked.output / BOARD, data=data_folder(), device=str(resolve(asked.device)), compiling=asked.compile
    )
    evaluations = Evaluations(examples=asked.examples)
    failed: list[tuple[str, RobenchError]] = []

    def do(rows: dict[str, Request], numbers: list[int], output: Path) -> None:
        there = replace(place, output=output)
        faults = bench(list(rows.values()), numbers, evaluations, there, asked.jobs, listening, say)[1]
        failed.extend((name if len(rows) > 1 else next(iter(rows)), fault) for name, fault in faults.items())

    for seed, rows, output in slices(asked):
        do(rows, [seed], output)
    rows = board(asked)
    plans = [run_folder(compose(request), place.output, 0).folder.parent for request in rows.values()]
    if not failed:  # once more, since a verdict looks at all seeds
        do({HIDDEN: rows.pop(HIDDEN)}, seeds(asked.seeds), place.output)
        do(rows, seeds(asked.seeds), place.output)
    found = ranked(row for folder in plans for row in collected(folder))
    render.show([of_row(row) for row in found], "terminal", Console())
    for name, fault in failed[:1]:
        raise type(fault)(f"{len(failed)} runs failed; {name}: {fault}")


def strength(asked: argparse.Namespace) -> None:
    """Print FIRE's three strengths beside TRADES: validation images decide, test images are only shown."""
    requests = {name: board(asked)[name] for name in ("trades", "fire")}
    found = {name: measured(request, asked.output / BOARD, asked.examples) for name, request in requests.items()}
    found |= {name: measured(each, asked.output / STRENGTH, asked.examples) for name, each in strengths(asked).items()}
    theirs = found["trades"]["validation"]
    columns = ("seeds", "valid.\nclean", "less\nTRADES", "test\nclean", "PGD-20", "Auto-\nAttack")
    drawn = _table(f"{asked.dataset}, {asked.arch}, {asked.examples:,} test images", *columns)
    for name, own in found.items():
        apart = {seed: value - theirs[seed] for seed, value in own["validation"].items() if seed in theirs}
        values = [own["validation"], apart, own["clean"], own["pgd20"], own["aa"]]
        said = [f"{mean_std(list(each.values()))}" if each else "–" for each in values]
        drawn.add_row(name, _listed(sorted(own["validation"])), *said)
    Console().print(drawn)


def measured(request: Request, output: Path, examples: int) -> dict[str, dict[int, float]]:
    """By measure and seed: validation clean accuracy after the last epoch; the evaluations on ``examples`` images."""
    composed = compose(request)
    claim = {"eps": str(composed.plan.claim.eps), "examples": examples, "seed": 0}
    found: dict[str, dict[int, float]] = {"validation": {}, "clean": {}, "pgd20": {}, "aa": {}}
    for each in (run for run in folders.find(run_folder(composed, output, 0).folder.parent) if run.trained):
        last = (each.folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        found["validation"][each.seed] = json.loads(last)["clean"]
        for evaluation in each.evaluations():
            if claim.items() <= evaluation.items() and evaluation["attack"] in found:
                found[evaluation["attack"]][each.seed] = evaluation["robust"]
                found["clean"][each.seed] = evaluation["clean"]
    return found


def collect(asked: argparse.Namespace) -> None:
    """Copy every finished run without its weights; of FIRE's seed 0 also the weights, in half precision."""
    output = asked.output.resolve()
    kept = run_folder(compose(board(asked)["fire"]), output / BOARD, 0).folder
    for each in (run for part in (BOARD, STRENGTH) for run in folders.find(output / part) if run.trained):
        into = asked.into / each.folder.relative_to(output)
        into.mkdir(parents=True, exist_ok=True)
        for path in each.folder.iterdir():
            if path.suffix in (".json", ".jsonl", ".npy"):
                shutil.copy2(path, into)
        if each.folder == kept:
            halved = {name: x.half() if x.is_floating_point() else x for name, x in load_file(each.weights).items()}
            save_file(halved, into / "weights.half.safetensors")


def _table(title: str, *columns: str) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="")
    drawn.add_column("row", no_wrap=True)
    for column in columns:
        drawn.add_column(column, justify="right")
    return drawn


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("plan", "run", "strength", "collect"))
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--arch", default="resnet-18")
    parser.add_argument("--epochs", default="", help="Instead of the short profile's, 30 on CIFAR-10.")
    parser.add_argument("--batch-size", default="", help="Instead of the recipe's, 256 on CIFAR-10.")
    parser.add_argument("--precision", default="")
    parser.add_argument("--seeds", default="5", help="How many, a list (0,3) or a range (2-4).")
    parser.add_argument("--examples", type=int, default=1000, help="AutoAttack on the first so many test images.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--into", type=Path, default=Path("small"), help="Where collect copies to.")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what `timeout` sends
    try:
        {"plan": plan, "run": run, "strength": strength, "collect": collect}[asked.verb](asked)
    except KeyboardInterrupt:
        say("interrupted; the same command continues")
        sys.exit(75)
    except RobenchError as fault:
        say(f"error: {fault}")
        sys.exit(fault.exit_code)


if __name__ == "__main__":
    main()
