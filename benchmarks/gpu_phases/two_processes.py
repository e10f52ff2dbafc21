"""Phase: two processes train one model, on two GPUs by NCCL or on one device by gloo; losses beside those of one."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from robench_fire.data import fetching
from robench_fire.devices.device import resolve, use
from robench_fire.devices.process_group import ALONE, ProcessGroup
from robench_fire.problem.dataset import head
from robench_fire.runs.compose import Request, compose
from robench_fire.training.engine import train
from robench_fire.training.setup import Problem


def losses(device: torch.device, group: ProcessGroup) -> tuple[list[float], float]:
    """Of two epochs of FIRE on digits in float32, and the seconds that they took."""
    composed = compose(Request(defense="fire", dataset="digits", epochs=2))
    plan, splits = composed.plan, fetching.splits("digits", composed.dataset, fetching.data_folder())
    recipe = replace(plan.recipe, precision="fp32", batch_size=64)
    problem = Problem(plan.defense, plan.threat, recipe, head(splits.train, 500), splits.validation, 10)
    started = time.perf_counter()
    trained = train(composed.build, problem, seed=0, device=device, group=group)
    return [row["loss"] for row in trained.curve], time.perf_counter() - started


def work(rank: int, kind: str, meeting: str, answer: str) -> None:
    """What each process does; the first writes."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    several = kind == "cuda" and torch.cuda.device_count() > 1
    device = torch.device(kind, rank if several else 0) if kind == "cuda" else torch.device("cpu")
    use(device)
    backend = "nccl" if several else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=2)
    found, took = losses(device, ProcessGroup(rank, 2))
    if rank == 0:
        Path(answer).write_text(json.dumps({"backend": backend, "losses": found, "seconds": took}))
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    device = resolve(asked.device)
    use(device)
    alone, took = losses(device, ALONE)
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        spawn(work, (device.type, f"file://{folder}/meeting", str(answer)), nprocs=2)
        together: dict[str, Any] = json.loads(answer.read_text())
    near = all(math.isclose(one, two, rel_tol=0.05) for one, two in zip(alone, together["losses"], strict=True))
    asked.json.write_text(json.dumps({"one": {"losses": alone, "seconds": took}, "two": together, "near": near}))
    if not near:
        raise SystemExit(f"losses of two processes {together['losses']} are not those of one {alone}")


if __name__ == "__main__":
    main()
