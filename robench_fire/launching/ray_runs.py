"""Running many seeds on the machines that Ray joins. The run folders are this process's; a lost run continues."""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robench_fire import stopping
from robench_fire.errors import DataError, RobenchError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.folder_sync import apply, below, contents
from robench_fire.launching.local import ending
from robench_fire.launching.ray_cluster import Cluster, imported, needs, room
from robench_fire.launching.ray_task import Message, RayTask, Stage, work
from robench_fire.progress import NOTE, Event, Listen
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import Run

RETRIES = 3  # of a run whose machine or worker process was lost
WAIT_SECONDS = 0.2  # for a message
LOST = "its machine or worker process was lost"
SIBLING = ("plan.json", "train.json", "weights.safetensors")  # what a verdict reads of the other seeds


class Cell(NamedTuple):
    """One run: what is asked for, its seed, and its folder."""

    request: Request
    seed: int
    run: Run


def launch(
    stage: Stage,
    cells: Mapping[str, Cell],
    evaluations: Evaluations,
    output: Path,
    cluster: Cluster,
    listen: Listen,
    *,
    jobs: int = 0,
    siblings: bool = False,
) -> dict[str, RobenchError]:
    """Run the stage of every cell on the joined cluster; a failing one does not stop the others.

    A run goes with the files of its folder, and with the weights of its ``siblings`` if they are needed; what it writes
    comes back after every epoch. One whose machine or worker process is lost is sent again, with the files as they are
    then. ``jobs``: runs at a time (0: as many as there is room for).

    Returns:
        The errors by cell, in the order of the cells.

    Raises:
        UsageError: if no machine has what a run needs.
        DataError: if a run folder cannot be written.
        Stopped: after a signal; runs under way have ended their step and sent what they finished.
    """
    with stopping.deferred(), _message_queue() as messages:  # a signal raised inside Ray's own code would be lost
        going = _Launch(stage, cells, evaluations, output, cluster, jobs, siblings, messages, listen)
        try:
            while going.waiting or going.running:
                stopping.check()
                going.send()
                going.receive(WAIT_SECONDS)
                going.settle()
        finally:
            going.cancel()
    return {name: error for name in cells if (error := going.found[name]) is not None}


@contextmanager
def _message_queue() -> Iterator[Any]:
    """A queue beside this process, which outlives every other machine."""
    ray = imported()
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    messages = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    try:
        yield messages
    finally:
        messages.shutdown(force=True)


class _Sent(NamedTuple):
    name: str
    attempt: int
    lock: ExitStack


@dataclass
class _Launch:
    """The runs of one launch: those waiting, those sent, and what came of the others."""

    stage: Stage
    cells: Mapping[str, Cell]
    evaluations: Evaluations
    output: Path
    cluster: Cluster
    jobs: int
    siblings: bool
    messages: Any
    listen: Listen
    ray: Any = field(default_factory=imported)
    waiting: deque[str] = field(default_factory=deque)
    running: dict[Any, _Sent] = field(default_factory=dict)
    found: dict[str, RobenchError | None] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)
    shared: dict[Path, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.needs = needs(self.cluster)
        self.waiting.extend(self.cells)

    def send(self) -> None:
        """Send as many waiting runs as there is room for; no more, as their files are kept in memory meanwhile."""
        free = min(room(self.needs), self.jobs or len(self.cells)) if self.waiting else 0
        if self.waiting and not free and not self.running:
            self.listen(Event(self.waiting[0], "waiting for a machine", 0, 1, ""))
        while self.waiting and len(self.running) < free:
            name = self.waiting.popleft()
            lock = ExitStack()
            try:
                lock.enter_context(self.cells[name].run.locked())
            except RobenchError as error:
                self._end(name, error)
                continue
            self.running[self._sent(name)] = _Sent(name, self.losses[name], lock)

    def _sent(self, name: str) -> Any:
        remote = self.ray.remote(work).options(
            num_cpus=self.needs["CPU"], num_gpus=self.needs.get("GPU", 0), max_retries=0, scheduling_strategy="SPREAD"
        )
        return remote.remote(self._task(name), self._extra(self.cells[name].request.extra_data), self.messages)

    def _task(self, name: str) -> RayTask:
        request, seed, run = self.cells[name]
        files = below(run.folder.name, contents(run.folder))
        for sibling in run.siblings() if self.siblings else ():
            files |= below(sibling, contents(run.folder.with_name(sibling), *SIBLING))
        return RayTask(
            name=name,
            attempt=self.losses[name],
            stage=self.stage,
            request=request,
            seed=seed,
            evaluations=self.evaluations,
            folder=run.folder.relative_to(self.output),
            output=self.output,
            files=files,
            code=Path(request.defense).read_bytes() if request.defense.endswith(".py") else b"",
            device="cuda" if "GPU" in self.needs else "cpu",
            compiling=self.cluster.compiling,
            deterministic=self.cluster.deterministic,
            threads=self.cluster.slots,
            data=self.cluster.data,
            command=tuple(sys.argv),
            debug=bool(os.environ.get("ROBENCH_DEBUG")),
        )

    def _extra(self, path: Path | None) -> Any:
        """The file of extra data in the cluster's shared memory, once for all runs."""
        if path is not None and path not in self.shared:
            self.shared[path] = self.ray.put(np.fromfile(path, np.uint8))
        return self.shared[path] if path is not None else None

    def receive(self, seconds: float) -> bool:
        """Wait for a message and do what it says; whether there was one."""
        from ray.util.queue import Empty

        try:
            message: Message = self.messages.get(block=seconds > 0, timeout=seconds)
        except Empty:
            return False
        if any((sent.name, sent.attempt) == (message.name, message.attempt) for sent in self.running.values()):
            folder = self.cells[message.name].run.folder
            try:
                apply(folder, message.change)
            except OSError as fault:
                raise DataError(
                    f"cannot write {folder}: {fault.strerror}; make room and give the same command again, it continues"
                ) from None
            for event in message.events:
                self.listen(event)
        return True

    def settle(self) -> None:
        """Note what ended, once its last message is read; a lost run waits again."""
        ended, _ = self.ray.wait(list(self.running), timeout=0) if self.running else ([], [])
        for reference in ended:
            while self.receive(0):
                pass
            name, _, lock = self.running.pop(reference)
            lock.close()
            self._note(name, reference)

    def _note(self, name: str, reference: Any) -> None:
        broken = self.ray.exceptions
        try:
            self.found[name] = self.ray.get(reference)  # its last event was in its last message
        except broken.RayTaskError as fault:  # not even tried, as when the package is missing there
            if os.environ.get("ROBENCH_DEBUG"):
                raise
            said = str(fault.cause).strip().split("\n")[0]
            self._end(name, RobenchError(f"a machine cannot run it ({said}); install robench-fire there as here"))
        except broken.RayError:
            self.losses[name] += 1
            if self.losses[name] > RETRIES:
                times = f"{self.losses[name]} times (out of memory?)"
                self._end(name, RobenchError(f"{LOST} {times}; the same command continues, try --slots 2"))
            else:
                self.listen(Event(name, NOTE, 0, 0, f"{LOST}; it continues on another"))
                self.waiting.appendleft(name)

    def _end(self, name: str, error: RobenchError) -> None:
        self.found[name] = error
        self.listen(ending(name, error))

    def cancel(self) -> None:
        """Stop what runs after its step, and take what it finished."""
        for reference in self.running:
            self.ray.cancel(reference)  # comes there as Ctrl-C
        if self.running:
            self.ray.wait(list(self.running), num_returns=len(self.running), timeout=stopping.PATIENCE)
            while self.receive(0):
                pass
        for sent in self.running.values():
            sent.lock.close()
