"""Peers and ours, on one machine in one run: training steps, PGD-10, AutoAttack, an epoch of a benchmark's recipe.

    pip install --no-deps --target PEERS torchattacks adversarial-robustness-toolbox six
    python benchmarks/peers.py --peers PEERS [--json results/peers.json] [--quick]

Peers are installed beside, never into our environment: torchattacks brings a copy of RobustBench that would take the
place of the installed one. The folder is put behind everything else that Python looks through. A peer that is not
there is left out, and the table says so. No peer's code is here: their public calls are made, or a step is written
plainly from its paper.

Ways take turns, round by round; the figures are medians, and ratios of the first way's median to each. Real CIFAR-10
images; all threads that torch uses by itself. ``--quick`` rehearses everything with small batches, in one round.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from robench_fire.data import fetching
from robench_fire.devices.device import use
from robench_fire.files import write_json
from robench_fire.problem.dataset import Splits, head
from robench_fire.runs import provenance
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import read_json


class Size(NamedTuple):
    """``batches``: images of a step by network. ``rounds``: of steps and of AutoAttack; ``epoch``: images of one."""

    batches: dict[str, int]
    rounds: int
    epoch: int
    training: int
    epochs: int
    attacked: int
    rounds_of_autoattack: int


WHOLE = Size({"resnet-18": 64, "wrn-10-1": 128}, 5, 512, 5000, 8, 60, 3)
QUICK = Size({"resnet-18": 8, "wrn-10-1": 32}, 1, 128, 1500, 4, 20, 1)
PARTS = ("released", "pgd", "trainer", "autoattack", "fastat")


def comparisons(size: Size, splits: Splits, wanted: list[str]) -> Iterator[tuple[Any, int]]:
    """Each comparison with the number of its rounds."""
    from peer_ways import attacks, training

    each = {arch: head(splits.train, count) for arch, count in size.batches.items()}
    if "released" in wanted:
        for arch, images in each.items():
            yield from ((training.released(defense, arch, images), size.rounds) for defense in ("fire", "trades"))
    if "trainer" in wanted:
        for arch, images in each.items():
            yield from ((training.trainer(defense, arch, images), size.rounds) for defense in ("madry", "trades"))
    if "fastat" in wanted:
        few = {"resnet-18": size.epoch // 2, "wrn-10-1": 2 * size.epoch}
        yield from ((training.fastat(arch, head(splits.train, few[arch])), size.rounds) for arch in few)
    if {"pgd", "autoattack"} & set(wanted):
        arch = "wrn-10-1"
        print(f"a short training of {arch} to attack ...", file=sys.stderr)
        model = attacks.trained(arch, head(splits.train, size.training), size.epochs)
        if "pgd" in wanted:
            yield attacks.pgd(arch, model, head(splits.test, size.batches[arch])), size.rounds
        if "autoattack" in wanted:
            yield attacks.autoattack(arch, model, head(splits.test, size.attacked)), size.rounds_of_autoattack


def said(told: dict[str, Any]) -> str:
    """A comparison in lines."""
    lines = [f"{told['name']}: {told['what']}"]
    for name, each in told["ways"].items():
        robust = f"  robust {', '.join(map(str, each['robust']))}" if "robust" in each else ""
        lines.append(f"  {name:32} {each['median']:9.3f} s {each['ratio']:6.2f}x{robust}")
    return "\n".join(lines + [f"  {name:32} left out: {why}" for name, why in told["skipped"].items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="Folder where peers are installed.")
    parser.add_argument("--quick", action="store_true", help="A rehearsal: small batches, one round.")
    parser.add_argument("--only", default=",".join(PARTS), help="Some of them, as in released,pgd.")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.peers:
        sys.path.append(str(asked.peers.resolve()))
    from peer_ways.turns import compared, versions

    warnings.simplefilter("ignore")
    use(torch.device("cpu"))
    splits = fetching.splits("cifar10", compose(Request(defense="fire", dataset="cifar10")).dataset,
                             fetching.data_folder())  # fmt: skip
    about = {"device": provenance.device_name(torch.device("cpu")), "threads": torch.get_num_threads(),
             "commit": provenance.commit(), "quick": asked.quick,
             "versions": {"torch": torch.__version__, **versions()}}  # fmt: skip
    print(about, flush=True)
    known: dict[str, Any] = {}
    if asked.json and asked.json.exists():  # what is not measured now stays
        known = {each["name"] + each["what"]: each for each in read_json(asked.json)["comparisons"]}
    for comparison, rounds in comparisons(QUICK if asked.quick else WHOLE, splits, asked.only.split(",")):
        began = time.monotonic()
        told = compared(comparison, rounds) | about
        print(f"{said(told)}\n  ({time.monotonic() - began:.0f} s)", flush=True)
        known[told["name"] + told["what"]] = told
        if asked.json:
            write_json(asked.json, {"comparisons": list(known.values())})


if __name__ == "__main__":
    main()
