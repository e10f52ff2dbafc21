"""One phase in a process of its own, and the files of what was found."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_phases.table import BENCHMARKS, Phase
from robench_fire.errors import UsageError
from robench_fire.files import as_json, write_text

FORMAT = 1
SAID = 30  # lines of a failed phase's output that are kept beside its error
WEIGHTS = (".safetensors", ".pt")

Found = dict[str, Any]


@dataclass(frozen=True)
class Folders:
    """``out``: what is kept, two files a device class. ``work``: logs and run folders, where a later run goes on."""

    out: Path
    work: Path


def probed(device: str) -> Found:
    """What the device is, asked in a process of its own: here no CUDA is begun, so none can fail.

    Raises:
        UsageError: if the device is not there.
    """
    command = [sys.executable, str(BENCHMARKS / "gpu_phases" / "device.py"), device]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        said = (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise UsageError(f"{said}; a rehearsal on any machine: --device cpu --tiny")
    found: Found = json.loads(ran.stdout.splitlines()[-1])
    return found


def class_of(about: Found, tiny: bool) -> str:
    """The name of a device's files: results of one class are never mixed with another's, nor with a rehearsal's."""
    name = re.sub(r"[^a-z0-9]+", "-", about["device"].lower()).strip("-")
    return name + "-tiny" * tiny


def known(file: Path) -> dict[str, Found]:
    """What earlier runs on this device class left, by phase.

    Raises:
        UsageError: if the file cannot be read.
    """
    try:
        read: dict[str, Found] = json.loads(file.read_text(encoding="utf-8"))["phases"] if file.exists() else {}
    except (OSError, ValueError, KeyError) as fault:
        what = f"{file} cannot be read ({type(fault).__name__})"
        raise UsageError(f"{what}; move it away, or choose another --out") from None
    return read


def keep(file: Path, phases: dict[str, Found]) -> None:
    """Write all phases, whole or not at all. Where the disk is full they are printed, so that the log has them."""
    text = as_json({"format": FORMAT, "device_class": file.stem, "phases": phases})
    try:
        write_text(file, text)
    except OSError as fault:
        print(f"{file} cannot be written ({fault.strerror}); it would hold:\n{text}", flush=True)


def archive(folders: Folders, name: str) -> None:
    """Logs and run folders without weights, in one small file."""
    folder = folders.work / name
    if not folder.exists():
        return
    try:
        with tarfile.open(folders.out / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(folder, name, filter=lambda each: None if each.name.endswith(WEIGHTS) else each)
    except OSError as fault:
        print(f"{folders.out / name}.tar.gz cannot be written ({fault.strerror}); see {folder}", flush=True)


def run(phase: Phase, about: Found, device: str, work: Path, limit: float, tiny: bool) -> Found:
    """Run a phase, for ``limit`` seconds at most, and say all of it: where, what, how long, result or error."""
    (work / "logs").mkdir(parents=True, exist_ok=True)
    answer, log = work / "logs" / f"{phase.name}.json", work / "logs" / f"{phase.name}.log"
    answer.unlink(missing_ok=True)
    command = phase.command(device, work, limit, answer, tiny)
    began, started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    code = _ended(command, log, work, limit)
    took = time.monotonic() - started
    result, lines = _read(answer), log.read_text(encoding="utf-8", errors="replace").splitlines()
    state = "done" if code == 0 and result is not None else "out of time" if code is None else "failed"
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    reasons = {"failed": f"exit {code}: {last[:300]}", "out of time": f"ended after {limit:.0f} s"}
    return {
        **about, "phase": phase.name, "tiny": tiny, "command": _told(command), "started": began,
        "seconds": round(took, 1), "state": state, "result": result, "error": reasons.get(state),
        "said": lines[-SAID:] if state != "done" else [],
    }  # fmt: skip


def _told(command: list[str]) -> str:
    """The command as one would give it in the checkout."""
    script, *options = command[1:]
    return " ".join(["python", str(Path(script).relative_to(BENCHMARKS.parent)), *options])


def _ended(command: list[str], log: Path, work: Path, limit: float) -> int | None:
    """The exit code of a command, None where its time was over. It runs in ``work``, as a checkout would hide what is
    installed, and nothing that it started outlives it. What was compiled is there for the next run."""
    with open(log, "wb") as out, subprocess.Popen(
        command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=work, start_new_session=True,
        env={"TORCHINDUCTOR_CACHE_DIR": str(work.parent / "inductor"), **os.environ, "PYTHONUNBUFFERED": "1"},
    ) as child:  # fmt: skip
        try:
            return child.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(5)


def _read(answer: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(answer.read_text(encoding="utf-8"))
    return None
