"""Phase: a row of a board in the time that is left: `robench train DEFENSE cifar10`, as many epochs as fit."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from robench_fire.runs.folders import find

EPOCHS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 75, 100)  # few numbers, so that a later run goes on with the same plan
EVALUATION = 60.0  # seconds of AutoAttack on 1,000 images, guessed
SURE = 0.8  # of the time that is left is planned with


def fitting(seconds: float, per_epoch: float | None) -> int:
    """The largest number of EPOCHS that leaves time for the evaluation."""
    if not per_epoch:
        return EPOCHS[0]
    return max([each for each in EPOCHS if each * per_epoch <= SURE * (seconds - EVALUATION)], default=EPOCHS[0])


def measured(work: Path) -> float | None:
    """Seconds of an epoch, as the phase end-to-end found."""
    runs = [run for run in (find(work / "runs") if (work / "runs").exists() else []) if run.trained]
    if not runs:
        return None
    curve = [json.loads(line) for line in (runs[0].folder / "curve.jsonl").read_text().splitlines()]
    seconds: float = curve[-1]["seconds"]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("defense")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="That there are.")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    begun, rows = asked.work / f"row-{asked.defense}.epochs", asked.work / "rows" / asked.defense
    if not begun.exists():
        begun.write_text(str(fitting(asked.seconds, measured(asked.work))))
    what = ["digits"] if asked.tiny else ["cifar10", "--arch", "resnet-18", "--set", "recipe.schedule=cyclic"]
    test = ["--attack", "pgd20", "--examples", "16"] if asked.tiny else ["--examples", "1000"]
    command = [sys.executable, "-m", "robench_fire", "train", asked.defense, *what, "--epochs", begun.read_text(),
               "--seeds", "1", *test, "--device", asked.device, "--output", str(rows)]  # fmt: skip
    subprocess.run(command, check=True)
    (run,) = find(rows)
    result: dict[str, Any] = {
        "train": run.read("train.json"),
        "evaluations": run.evaluations(),
        "curve": [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()],
    }
    asked.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
