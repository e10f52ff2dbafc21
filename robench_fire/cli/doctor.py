"""What works on this machine, and the fix for what does not."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from robench_fire.data import fetching
from robench_fire.data.own.stored import prepared_in, summary
from robench_fire.devices.meters import energy_counter
from robench_fire.devices.workers import cores
from robench_fire.models import robustbench_package
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset
from robench_fire.runs import provenance


class Finding(NamedTuple):
    """``state``: "ok", "note" (works, but know this) or "broken"; ``fix``: the command that helps, if any."""

    state: Literal["ok", "note", "broken"]
    what: str
    detail: str
    fix: str = ""


def examine(data: Path) -> list[Finding]:
    """Versions, device, the known breakages of today's packages, and the data sets under ``data``."""
    versions = provenance.versions()
    return [
        Finding("ok", "versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        Finding("ok", "python", f"{platform.python_version()}, {cores()} cores"),
        _device(),
        *_energy(),
        _torchvision(),
        _robustbench(),
        _autoattack(),
        *(_data(name, data) for name in registry.names("datasets")),
        *(Finding("ok", f"data {each['name']}", summary(each)) for each in prepared_in(data)),
    ]


def _device() -> Finding:
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return Finding("ok", "device", f"{name}, CUDA {torch.version.cuda}, {torch.cuda.device_count()} in all")
    fix = "install NVIDIA's driver" if shutil.which("nvidia-smi") is None else "a torch build that fits the driver"
    return Finding(
        "note", "device", f"{provenance.device_name(torch.device('cpu'))}; no usable GPU", f"to use one: {fix}"
    )


def _energy() -> list[Finding]:
    """Whether a GPU's energy can be measured; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return []
    if energy_counter(torch.device("cuda", 0)) is not None:
        return [Finding("ok", "energy", "counted by NVML")]
    if importlib.util.find_spec("pynvml") is None:
        return [Finding("note", "energy", "not counted: nvidia-ml-py is not installed", "pip install nvidia-ml-py")]
    return [Finding("note", "energy", "this GPU has no energy counter that can be read")]


def _torchvision() -> Finding:
    try:
        import torchvision

        return Finding("ok", "torchvision", f"imports with this torch ({torchvision.__version__})")
    except (ImportError, RuntimeError) as fault:
        return Finding("broken", "torchvision", str(fault), "pip install --upgrade torch torchvision, from one index")


def _robustbench() -> Finding:
    try:
        robustbench_package.load()
    except ImportError as fault:
        return Finding("broken", "robustbench", str(fault), "pip install --force-reinstall robustbench")
    lent = [name for name in ("pkg_resources", "autoattack") if importlib.util.find_spec(name) is None]
    detail = "imports" + (f"; {' and '.join(lent)} lent by robench_fire, as this release misses them" if lent else "")
    return Finding("ok", "robustbench", detail)


def _autoattack() -> Finding:
    if importlib.util.find_spec("pyautoattack") is None:
        return Finding("broken", "autoattack", "pyautoattack is not installed", "pip install 'pyautoattack==0.2.*'")
    return Finding("ok", "autoattack", f"pyautoattack {provenance.versions()['pyautoattack']}, own orchestration")


def _data(name: str, folder: Path) -> Finding:
    dataset: Dataset = registry.load("datasets", name).module.DATASET
    if not dataset.files:
        return Finding("ok", f"data {name}", "embedded")
    found = {file.path: fetching.condition(file, folder) for file in dataset.files}
    bring = f"robench data {name}{fetching.elsewhere(folder)}"
    altered = [path for path, state in found.items() if state == "altered"]
    missing = [path for path, state in found.items() if state == "missing"]
    if altered:
        fix = f"move it away, then {bring}"
        return Finding("broken", f"data {name}", f"{folder / altered[0]} is not the official file", fix)
    if missing:
        some = f"{len(missing)} of {len(found)} files are not" if len(missing) < len(found) else "not"
        return Finding("note", f"data {name}", f"{some} under {folder}", bring)
    return Finding("ok", f"data {name}", f"verified under {folder}")
