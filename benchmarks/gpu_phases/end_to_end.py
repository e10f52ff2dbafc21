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


def begun(runs: Path) -> Run | None:
    """The run that the command makes; none before its folder is there."""
    return next(iter(find(runs) if runs.exists() else []), None)


def killed_in_the_second_epoch(command: list[str], runs: Path) -> bool:
    """Whether it could be killed there: a small training may be done before."""
    with subprocess.Popen(command, start_new_session=True) as child:
        while child.poll() is None:
            run = begun(runs)
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
    parser.add_argument("--examples", required=True)
    parser.add_argument("--attack", required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("training", nargs=argparse.REMAINDER, help="What `robench train` is given.")
    asked = parser.parse_args()
    runs, device = asked.work / "runs", ["--device", asked.device]
    command = [*ROBENCH, "train", *asked.training, "--epochs", "2", "--seeds", "1", "--no-eval", *device,
               "--output", str(runs)]  # fmt: skip
    started = time.perf_counter()
    killed = killed_in_the_second_epoch(command, runs)
    until_killed = time.perf_counter() - started
    subprocess.run(command, check=True)
    run = begun(runs)
    assert run is not None
    took = time.perf_counter() - started
    how = ["--examples", asked.examples, "--attack", asked.attack, *device, "--json"]
    said = subprocess.run([*ROBENCH, "eval", str(run.folder), *how], check=True, stdout=subprocess.PIPE, text=True)
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
