"""Which training ten minutes of a CPU core should be spent on: the search behind the CIFAR-10 board's protocol.

    OMP_NUM_THREADS=1 python benchmarks/cifar10_search.py --output search --out results/cifar10-search.json

TRADES, seed 0, in each of ``WAYS``, with as many epochs as take about the same time; interrupted? the same command
continues. What they come to is compared on the 1,000 validation images, under one attack for all: PGD-20 in steps of
2/255 from anywhere in the ball, on cross-entropy. Test images are not looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import torch

import robench_fire as rb
from robench_fire.files import write_json
from robench_fire.runs.folders import Run
from robench_fire.runs.provenance import commit, device_name, versions


class Way(NamedTuple):
    """What is tried: a network, the attack's number of steps, their length, and epochs."""

    arch: str
    steps: int
    step: str
    epochs: int


WAYS = [
    Way("wrn-10-1", 10, "2/255", 2),
    Way("wrn-10-1", 3, "4/255", 4),
    Way("wrn-10-1", 2, "5/255", 5),
    Way("wrn-10-1", 1, "10/255", 6),
    Way("wrn-10-2", 2, "5/255", 2),
]


def trained(way: Way, output: Path) -> Run:
    """The run of a way, which is made if it is not there."""
    own = {
        "recipe.batch_size": 128, "recipe.precision": "bf16", "recipe.attack.steps": way.steps,
        "recipe.attack.step": way.step,
    }  # fmt: skip
    runs = rb.train(
        "trades", "cifar10", seeds=1, arch=way.arch, epochs=way.epochs, profile="short", set=own, attacks=(),
        compiling=True, output=output,
    )  # fmt: skip
    return Run(runs.folder / "seed-0")


def accuracies(run: Run) -> dict[str, float]:
    """In percent of the validation images: clean, and under the one attack."""
    model = rb.load(run.folder, device="cpu")
    x, y = rb.load_images("cifar10", split="validation")
    found = rb.attacks.pgd(model, x, y, rb.Linf("8/255"), steps=20, step="2/255")
    with torch.no_grad():
        right = {name: model(images).argmax(1) == y for name, images in (("clean", x), ("pgd20", found))}
    return {name: 100 * float(each.float().mean()) for name, each in right.items()}


def row(way: Way, output: Path) -> dict[str, Any]:
    """What a way came to, and the seconds that its training took."""
    run = trained(way, output)
    about = run.read("train.json")
    return {**way._asdict(), **accuracies(run), "seconds": about["seconds"], "weights_sha256": about["weights_sha256"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("search"))
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    rows = [row(way, asked.output) for way in WAYS]
    device = torch.device("cpu")
    about = {"device": device_name(device), "threads": torch.get_num_threads(), "commit": commit(), **versions()}
    write_json(asked.out, {"about": about, "ways": rows})
    for each in rows:
        print(each)


if __name__ == "__main__":
    main()
