"""Phase: a whole training, killed in its second epoch and resumed, then evaluated."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from robench_fire.runs.folders import Run, find

ROBENCH = [sys.executable, "-m", "robench_fire"]
REAL = "train fire cifar10 --arch resnet-18 --epochs 2".split()
TINY = "train fire digits --epochs 2".split()


def training(tiny: bool, device: str, work: Path) -> list[str]:
    """The command, which does nothing where it has been run before."""
    return [*ROBENCH, *(TINY if tiny else REAL), "--seeds", "1", "--no-eval", "--device", device,
            "--output", str(work / "runs")]  # fmt: skip


def trained(work: Path) -> Run | None:
    """The run that the command makes; none before its folder is there."""
    runs = find(work / "runs") if (work / "runs").exists() else []
    return next((run for run in runs if run.read("plan.json")["recipe"]["epochs"] == 2), None)


def killed_in_the_second_epoch(command: list[str], work: Path) -> bool:
    """Whether it could be killed there: a small training may be done before."""
    with subprocess.Popen(command, start_new_session=True) as child:
        while child.poll() is None:
            run = trained(work)
            if run is not None and (run.folder / "curve.jsonl").exists() and not run.trained:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                return True
            time.sleep(0.05)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    command = training(asked.tiny, asked.device, asked.work)
    started = time.perf_counter()
    killed = killed_in_the_second_epoch(command, asked.work)
    until_killed = time.perf_counter() - started
    subprocess.run(command, check=True)
    run = trained(asked.work)
    assert run is not None
    took = time.perf_counter() - started
    how = ["--examples", "16", "--attack", "pgd20"] if asked.tiny else ["--examples", "256"]
    said = subprocess.run([*ROBENCH, "eval", str(run.folder), *how, "--device", asked.device, "--json"], check=True,
                          stdout=subprocess.PIPE, text=True)  # fmt: skip
    result = {
        "killed": killed,
        "seconds": {"until killed": until_killed, "training": took, "all": time.perf_counter() - started},
        "train": run.read("train.json"),
        "curve": [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()],
        "evaluation": json.loads(said.stdout),
    }
    assert [row["epoch"] for row in result["curve"]] == [1, 2]
    asked.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
