"""Where the time of a training step goes, by kinds of operation: FIRE as released, and ours.

    python benchmarks/step_accounting.py --out results/step-accounting.json [--batch 64]

Real CIFAR-10 images, 10 attack steps. torch.profiler adds up the time that each operation takes by itself; ``rest`` is
what of the step's wall time lies in none: Python, and the calls themselves. The rate is that of the step's FLOPs over
the seconds inside convolutions: what is left to gain elsewhere is what the other columns hold.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from training_speed import WAYS, Case, images

from robench_fire.costs.account import flops_per_image
from robench_fire.devices.device import use
from robench_fire.devices.meters import matmul_rate
from robench_fire.files import write_json
from robench_fire.runs.provenance import commit, device_name, versions

KINDS = {
    "convolution": r"convolution",
    "batch norm": r"batch_norm",
    "elementwise": r"CompiledFxGraph|aten::(add|sub|mul|div|clamp|threshold|relu|sgn|minimum|maximum|avg_pool|where)",
    "copies": r"aten::(copy|contiguous|clone|cat|empty|fill|zero|resize)",
}  # fmt: skip
"""Operations whose name holds this; the first that fits. A compiled graph is one operation: batch norm, ReLU, sums."""
CASES = {
    "released": {"precision": "fp32"},
    "ours fp32": {"precision": "fp32"},
    "ours bf16": {"precision": "bf16"},
    "ours bf16 compiled": {"precision": "bf16", "compiling": True},
}  # fmt: skip


def account(name: str, case: Case) -> dict[str, Any]:
    """Of one step after two others: its seconds, and the share of each kind in percent."""
    step = WAYS[name.split()[0]](case)
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        started = time.perf_counter()
        step()
        seconds = time.perf_counter() - started
    shares: defaultdict[str, float] = defaultdict(float)
    for each in profiled.key_averages():
        kind = next((kind for kind, names in KINDS.items() if re.search(names, each.key)), "rest")
        shares[kind] += each.self_cpu_time_total / 1e4 / seconds
    shares["rest"] = 100 - sum(share for kind, share in shares.items() if kind != "rest")
    return {"way": name, "arch": case.arch, "seconds": seconds, "shares": dict(shares)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--archs", default="resnet-18,wrn-10-1")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device("cpu")
    use(device)
    rows: list[dict[str, Any]] = []
    for arch in asked.archs.split(","):
        plain = Case("fire", arch, device, images(asked.batch, random=False), "fp32")
        one = replace(plain.problem, recipe=replace(plain.problem.recipe, epochs=1))
        flops = asked.batch * flops_per_image(plain.model, one)
        for name, chosen in CASES.items():
            rows.append({**account(name, replace(plain, **chosen)), "flops": flops})  # type: ignore[arg-type]
            print(rows[-1], flush=True)
    write_json(asked.out, {
        "about": {
            "device": device_name(device), "threads": torch.get_num_threads(), "batch": asked.batch, "commit": commit(),
            "matmul": {each: matmul_rate(device, each) for each in ("fp32", "bf16")}, **versions(),
        },
        "steps": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
