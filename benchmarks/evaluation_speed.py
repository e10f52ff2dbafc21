"""AutoAttack standard, ours and pyautoattack's, on the same adversarially trained models, side by side on this CPU.

Run in a checkout: ``python benchmarks/evaluation_speed.py``. On two cores it takes half an hour, a few minutes of it to
train what is missing under runs/. It prints the time of whole evaluations, ours with its checks of the model, and how
many images each leaves robust; with ``--ablate``, also what each of our measures is worth, by leaving it out. Ours and
upstream's take turns, so that both meet the same load; ratios are of medians. Evaluations in one process are timed by
the processor's seconds divided by its threads, which other processes disturb less. ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from pyautoattack import AutoAttack
from pyautoattack.square import SquareAttack

from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.workers import cores
from robench_fire.evaluation.autoattack import attack_sets, attacked_model, forwards, leaving
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.problem.dataset import Split, head
from robench_fire.problem.pgd import Forward
from robench_fire.runs import provenance
from robench_fire.runs.folders import find
from robench_fire.runs.model_source import ModelSource, source_of

CPU = torch.device("cpu")
MODELS = {
    "DigitsCNN, digits": ["fire", "digits"],
    "WRN-10-1, CIFAR-10": [
        *("fire", "cifar10", "--arch", "wrn-10-1", "--epochs", "1", "--profile", "short", "--batch-size", "128"),
        *("--precision", "bf16", "--set", "recipe.attack.steps=3", "--set", "recipe.attack.step=4/255"),
    ],
}


def clock(jobs: int = 1) -> float:
    """Seconds: of wall time where several processes work, else of this one's processor time, shared by its threads."""
    return time.perf_counter() if jobs > 1 else time.process_time() / torch.get_num_threads()


class Timing(NamedTuple):
    """Seconds of an evaluation, and how many images it left robust."""

    seconds: float
    robust: int


def trained(command: list[str], runs: Path) -> ModelSource:
    """Seed 0 of `robench train` with ``command``, which trains it if it is not there."""
    robench = [sys.executable, "-m", "robench_fire", "train"]
    subprocess.run([*robench, *command, "--seeds", "1", "--no-eval", "--output", str(runs)], check=True)
    found = find(runs / command[1] / "Linf" / command[0])
    return source_of(max(found, key=lambda run: run.weights.stat().st_mtime))


def ours(source: ModelSource, test: Split, batch_size: int, jobs: int = 1) -> Timing:
    """A whole evaluation in an empty folder."""
    evaluations = Evaluations(attacks=("aa",), examples=len(test.labels), batch_size=batch_size, jobs=jobs)
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = replace(source, stem=Path(folder) / "eval")
        started = clock(jobs)
        (facts,) = evaluate_source(elsewhere, test, evaluations, CPU, lambda *_: None, judge=False)
        return Timing(clock(jobs) - started, round(facts["robust"] * len(test.labels) / 100))


def upstream(source: ModelSource, test: Split, frozen: bool = False) -> Timing:
    """pyautoattack's run_standard_evaluation with its default batch of 250, on the model as it is loaded."""
    model = source.load(CPU).requires_grad_(not frozen)
    x, label = to_float(test.images), test.labels
    started = clock()
    attack = AutoAttack(model, norm=source.claim.norm, eps=float(source.claim.eps), seed=0, version="standard")
    x_adv, _ = attack.run_standard_evaluation(x, label)
    seconds = clock() - started
    with torch.no_grad():
        return Timing(seconds, int((model(x_adv).argmax(1) == label).sum()))


def _stay(self: leaving.Leaving, logits: torch.Tensor, asked: torch.Tensor) -> None:
    """Leaving.close that notes what is broken and lets nothing leave."""
    with torch.no_grad():
        hit = (logits.argmax(1) != self._label) & self._inside(asked, self._x)
        self.found[hit], self.broken[hit] = asked[hit], True


def _square(forward: Forward, x: torch.Tensor, label: torch.Tensor, eps: float, *_: object) -> torch.Tensor:
    """pyautoattack's own loop."""
    upstream = SquareAttack(forward, eps=eps, n_queries=5000, resc_schedule=False, device=x.device)
    upstream.init_hyperparam(x)
    found: torch.Tensor = upstream.attack_single_run(x, label)[1]
    return found


WITHOUT: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "leaving": lambda: mock.patch.object(leaving.Leaving, "close", _stay),
    "several FAB targets at once": lambda: mock.patch.object(attacked_model.AttackedModel, "_room", return_value=0),
    "channels last": lambda: mock.patch.object(forwards, "layout", return_value=torch.contiguous_format),
    "batches that fit the cache": lambda: mock.patch.object(forwards, "part", lambda images: len(images)),
    "batch norm folded into convolutions": lambda: mock.patch.object(forwards, "fused", lambda model: model),
    "batch norm as scale and shift": lambda: mock.patch.object(forwards, "simplified", lambda model: model),
    "numpy's sort in FAB": lambda: mock.patch.object(leaving, "lent", nullcontext),
    "inference mode": lambda: mock.patch.object(torch, "inference_mode", torch.no_grad),
    "Square that computes what it reaches": lambda: mock.patch.object(attacked_model, "tracked", return_value=None),
    "Square that asks nothing twice": lambda: mock.patch.object(attack_sets, "square_linf", _square),
}
"""Our measures, and how to do without each."""


def compare(source: ModelSource, test: Split, rounds: int, ablate: str | None) -> dict[str, list[Timing]]:
    """Timings by variant; the first two of each round are the comparison. ``ablate``: a part of measures' names."""
    jobs, n = cores(), len(test.labels)
    variants: dict[str, Callable[[], Timing]] = {
        "upstream": lambda: upstream(source, test),
        "ours, one process": lambda: ours(source, test, batch_size=n),
    }
    if jobs > 1:
        variants[f"ours, {jobs} processes"] = lambda: ours(source, test, batch_size=-(-n // (2 * jobs)), jobs=jobs)
    found: dict[str, list[Timing]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            found[name].append(run())
            print(f"    {name}: {found[name][-1].seconds:.1f} s", file=sys.stderr)
    if ablate is not None:
        found["upstream, parameters frozen"] = [upstream(source, test, frozen=True)]
        left_out = {name: without for name, without in WITHOUT.items() if ablate in name}
        for name, without in {"": nullcontext, **left_out}.items():
            label = f"one process, without {name}" if name else "one process, once more"
            with without():
                found[label] = [ours(source, test, batch_size=n)]
            print(f"    {label}: {found[label][-1].seconds:.1f} s", file=sys.stderr)
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("--examples", type=int, default=200)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--runs", type=Path, default=Path("runs"))
    asked.add_argument("--models", default="", help="only those whose name holds this text")
    asked.add_argument("--ablate", nargs="?", const="", help="also without each measure whose name holds this text")
    asked.add_argument("--json", type=Path)
    given = asked.parse_args()
    warnings.simplefilter("ignore")
    figures = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    for name, command in MODELS.items():
        if given.models in name:
            source = trained(command, given.runs)
            test = head(fetching.splits(source.dataset, source.parts(), fetching.data_folder()).test, given.examples)
            print(f"{name}, {len(test.labels)} images, {provenance.device_name(CPU)}, {cores()} cores")
            found = compare(source, test, given.rounds, given.ablate)
            base = statistics.median(each.seconds for each in found["upstream"])
            for variant, timings in found.items():
                seconds = statistics.median(each.seconds for each in timings)
                robust = sorted({each.robust for each in timings})
                print(f"  {variant:45} {seconds:7.1f} s  {base / seconds:5.2f} x  robust {robust}")
            timings_of = {variant: [each._asdict() for each in timings] for variant, timings in found.items()}
            figures[name] = {"examples": len(test.labels), "timings": timings_of}
    about = {"device": provenance.device_name(CPU), "threads": torch.get_num_threads()}
    if given.json:
        given.json.write_text(json.dumps(figures | about | {"versions": provenance.versions()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
