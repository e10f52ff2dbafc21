"""The machines that Ray joins: joining them, what a run takes of one, and how many runs they have room for."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench_fire import stopping
from robench_fire.devices.workers import cores
from robench_fire.errors import UsageError

CONNECT_SECONDS = 10.0  # to the port
JOIN_SECONDS = 20.0  # to the cluster behind it, which Ray itself would try for minutes
PROBE = """
import logging, sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
except Exception as fault:
    sys.exit(str(fault).strip().split("\\n")[0])
"""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where runs go.

    ``address``: of the cluster's head, HOST:PORT (empty: the variable RAY_ADDRESS, or else Ray is started on this
    machine alone). ``slots``: CPU cores of a run. ``device``: auto, cpu or cuda. ``compiling``: whether torch.compile
    is used (None: on GPUs). ``deterministic``: as Workplace has it (None: on CPUs). ``data``: the data folder on every
    machine (None: each machine's own).
    """

    address: str = ""
    slots: int = 1
    device: str = "auto"
    compiling: bool | None = None
    deterministic: bool | None = None
    data: Path | None = None

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {self.device}: Ray chooses which GPU; choose auto, cpu or cuda")


def imported() -> Any:
    """The package ray, told to keep to itself.

    Raises:
        UsageError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do by itself, without its warning
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")  # every line: a lost node's go to stdout, among results
    try:
        import ray
    except ImportError:
        raise UsageError("--launcher ray needs Ray; install it: pip install ray") from None
    return ray


@contextmanager
def joined(cluster: Cluster) -> Iterator[None]:
    """A connection to the cluster; Ray that was started for it is ended with it, another cluster stays.

    Raises:
        UsageError: if Ray is not installed, or no cluster answers at the address.
    """
    ray = imported()
    address = cluster.address or os.environ.get("RAY_ADDRESS", "")
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    where = {"address": address} if address else {"address": "local", "num_cpus": cores(), "include_dashboard": False}
    if address:
        _reach(address)
    ending = signal.getsignal(signal.SIGTERM)
    try:
        with stopping.deferred():  # what is raised inside Ray's code is lost
            ray.init(**where, **quiet)
            signal.signal(signal.SIGTERM, ending)  # Ray puts its own in place
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Join the cluster from a process of its own for a moment: Ray may try for minutes, or end the process."""
    host, _, port = address.rpartition(":")
    fix = "start it there with `ray start --head`, or correct --address"
    try:
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        probing = [sys.executable, "-c", PROBE, address]
        said = subprocess.run(probing, capture_output=True, text=True, timeout=JOIN_SECONDS)
        code, heard = said.returncode, said.stderr
    except OSError as fault:
        raise UsageError(f"--address {address}: Ray does not answer ({fault.strerror or fault}); {fix}") from None
    except subprocess.TimeoutExpired as fault:
        code, heard = -1, (fault.stderr or b"").decode(errors="replace")
    if "InvalidAuthToken" in heard:
        raise UsageError(f"--address {address}: Ray asks for a token; set RAY_AUTH_MODE=token (docs/launching.md)")
    if code == -1:
        raise UsageError(f"--address {address}: Ray does not answer within {JOIN_SECONDS:.0f} s; {fix}")
    if code:
        raise UsageError(f"--address {address}: {(heard.strip().splitlines() or [f'exit code {code}'])[-1]}")


def machines() -> list[Mapping[str, float]]:
    """What each machine of the joined cluster has, in Ray's words ("CPU", "GPU")."""
    return [node["Resources"] for node in imported().nodes() if node["Alive"]]


def needs(cluster: Cluster) -> dict[str, float]:
    """What a run takes of a machine: its cores, and a GPU unless it runs on the CPU.

    Raises:
        UsageError: if no machine has that.
    """
    there = machines()
    with_gpu = [each for each in there if each.get("GPU", 0) >= 1]
    if cluster.device == "cuda" and not with_gpu:
        raise UsageError("--device cuda: no machine of the cluster has a GPU; use --device cpu")
    on_gpu = cluster.device != "cpu" and bool(with_gpu)
    most = max(int(each.get("CPU", 0)) for each in (with_gpu if on_gpu else there))
    if most < cluster.slots:
        fix = "choose fewer" if most else "join one that has"
        raise UsageError(f"--slots {cluster.slots}: the largest machine of the cluster has {most} cores; {fix}")
    return {"CPU": cluster.slots, **({"GPU": 1} if on_gpu else {})}


def room(wanted: Mapping[str, float]) -> int:
    """How many runs that need ``wanted`` the machines have room for."""
    return sum(min(int(each.get(name, 0) // count) for name, count in wanted.items()) for each in machines())


def described(wanted: Mapping[str, float]) -> str:
    """What was joined, in a line for the user."""
    there = machines()
    have = [(int(sum(each.get(name, 0) for each in there)), what) for name, what in (("CPU", "core"), ("GPU", "GPU"))]
    counted = [_counted(count, what) for count, what in [(len(there), "machine"), *have] if count]
    return f"Ray: {', '.join(counted)}, room for {_counted(room(wanted), 'run')} at a time"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
