"""Prints what a device is and what is installed, as one line of JSON: ``device.py cuda``. Exit 2 without it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import torch

from robench_fire.data import fetching
from robench_fire.devices.device import resolve
from robench_fire.errors import RobenchError
from robench_fire.problem import registry
from robench_fire.runs import provenance


def driver() -> str | None:
    """The version of NVIDIA's driver, as nvidia-smi says it."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(query, capture_output=True, text=True).stdout.split()
    return said[0] if said else None


def main() -> None:
    try:
        device = resolve(sys.argv[1])
    except RobenchError as fault:
        print(fault, file=sys.stderr)
        raise SystemExit(2) from None
    files = registry.load("datasets", "cifar10").module.DATASET.files
    there = [fetching.condition(file, fetching.data_folder()) == "verified" for file in files]
    described = provenance.describe(device)
    about = {key: described[key] for key in ("device", "cuda", "commit", "code", "python", "platform", "versions")}
    about |= {"kind": device.type, "torch": torch.__version__, "driver": None}
    free = None
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        about |= {"driver": driver(), "memory": total, "capability": list(torch.cuda.get_device_capability(device))}
    print(json.dumps({"about": about, "free": free, "cifar10": all(there)}))


if __name__ == "__main__":
    main()
