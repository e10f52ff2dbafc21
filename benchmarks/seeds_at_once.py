"""Five seeds of one defense: one after another, in processes, side by side in one process, and both.

    python benchmarks/seeds_at_once.py [--dataset digits] [--defense fire] [--rounds 3] [--device cuda] [--epochs 20]

Whole commands, `robench train ... --no-eval`, each in a fresh folder and with all cores; ways take turns, round by
round; ratios are of medians to the time of a single seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "one seed": ["--seeds", "1"],
    "one after another": ["--seeds", "5", "--jobs", "1"],
    "2 processes": ["--seeds", "5", "--jobs", "2"],
    "5 processes": ["--seeds", "5", "--jobs", "5"],
    "together": ["--seeds", "5", "--jobs", "1", "--together"],
    "together, 2 processes": ["--seeds", "5", "--jobs", "2", "--together"],
}


def seconds(way: list[str], command: list[str]) -> float:
    """How long one way takes."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run([*command, *way, "--no-eval", "--output", folder], check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--defense", default="fire")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--ways", default="", help="Only these, as in one-seed,together")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--options", default="", help="Further options of robench train.")
    asked = parser.parse_args()
    command = [sys.executable, "-m", "robench_fire", "train", asked.defense, asked.dataset, "--device", asked.device]
    command += asked.options.split() + (["--epochs", str(asked.epochs)] if asked.epochs else [])
    chosen = asked.ways.split(",")
    ways = {name: way for name, way in WAYS.items() if not asked.ways or name.replace(" ", "-") in chosen}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, way in ways.items():
            found[name].append(seconds(way, command))
    one = statistics.median(found["one seed"])
    for name, values in found.items():
        median = statistics.median(values)
        print(f"{name:24} {median:7.1f} s ({min(values):.1f} to {max(values):.1f})  {median / one:.2f}x", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
