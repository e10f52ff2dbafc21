"""What a command cannot have, it says in a line; what was there stays, and the same command goes on afterwards."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import limits
import pytest
from commands import EVALUATIONS, PUBLISHED, TRAININGS, Command
from contents import tree
from kills import Case, Workshop, compare, interrupt, run
from moments import Moment, quick
from processes import Started, forked

pytestmark = pytest.mark.slow

TRAIN, EVAL, PUBLISH = TRAININGS[5], EVALUATIONS[0], PUBLISHED[1]
OWN = """
import torch
from robench_fire.models.small_cnns import DigitsCNN

class Wide(DigitsCNN):
    def forward(self, x):
        if self.training:
            torch.empty(len(x) << 23, dtype=torch.uint8)  # 8 MB for an image
        return super().forward(x)
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("limits"))


def ended(folder: Path, line: str, begin: Callable[[], None], code: int, meanwhile: Callable[[Started], None]) -> str:
    """The last line of what a command said that ended with this code and without a traceback."""
    with forked(folder, *line.split(), begin=begin) as command:
        meanwhile(command)
        assert command.wait(100) == code, command.stderr
        assert "Traceback" not in command.stderr
        last: str = command.stderr.splitlines()[-1]
    assert last.startswith("robench: ")
    return last


def nothing(command: Started) -> None:
    pass


def begun(workshop: Workshop, command: Command, folder: Path, change: int = 0) -> None:
    """Let a folder be where a command was killed before a change; halfway, if none is named."""
    whole = workshop.whole(command, command.words[0])
    workshop.begun(command.before, folder)
    change = change or len(whole.changes) // 2
    assert interrupt(folder, command.words[0], Moment(signal.SIGKILL, change=change), Case(""))


def goes_on(workshop: Workshop, command: Command, folder: Path) -> None:
    """The same command comes to what it comes to in one go."""
    case = Case("")
    run(folder, command.words[0])
    compare(tree(folder), workshop.whole(command, command.words[0]).left, case)
    assert case.wrong == []


def lasting(folder: Path) -> dict[str, bytes]:
    """Every file, but those of locks and halves."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "/." not in str(path)}


FEW, HANDLES = partial(limits.few_files, 1), r"Too many open files.*; allow more \(`ulimit -n 4096`\)"
NO_LOCKS = r"cannot write .*: its file system has no locks \(.*\)"


@pytest.mark.parametrize(
    ("command", "limit", "code", "said"),
    [
        (TRAIN, partial(limits.file_size, 20_000), 4, r"cannot write \S+state\.pt: File too large; make room"),
        (EVAL, partial(limits.file_size, 1200), 4, r"cannot write \S+: File too large; make room"),
        (PUBLISH, partial(limits.file_size, 3000), 4, r"cannot write board\S+: File too large; make room"),
        (TRAIN, FEW, 1, HANDLES), (EVAL, FEW, 1, HANDLES), (PUBLISH, FEW, 1, HANDLES),
        (TRAIN, partial(limits.no_locks, errno.ENOLCK), 2, NO_LOCKS),
        (EVAL, partial(limits.no_locks, errno.ENOTSUP), 2, NO_LOCKS),
    ],
)  # fmt: skip
def test_what_is_short_is_said_and_changes_nothing(
    workshop: Workshop, tmp_path: Path, command: Command, limit: Callable[[], None], code: int, said: str
) -> None:
    begun(workshop, command, folder := tmp_path / "case")
    before = lasting(folder)
    assert re.search(said, ended(folder, command.words[0], limit, code, nothing))
    after = lasting(folder)
    for path in before if command is not EVAL or code == 2 else ():  # which may have got further
        if not path.endswith("provenance.json"):  # that this was tried
            assert after[path] == before[path]
    goes_on(workshop, command, folder)


def test_a_full_disk_at_the_weights(workshop: Workshop, tmp_path: Path) -> None:
    """The last steps are made: only what they came to is left to write."""
    made = workshop.whole(TRAIN, TRAIN.words[0]).changes
    change = next(place for place, each in enumerate(made, 1) if each.startswith("open .weights"))
    begun(workshop, TRAIN, folder := tmp_path / "case", change)
    said = ended(folder, TRAIN.words[0], partial(limits.file_size, 20_000), 4, nothing)
    assert re.search(r"cannot write \S+weights\.safetensors: File too large; make room", said)
    goes_on(workshop, TRAIN, folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A file system of a megabyte; where none can be mounted, a folder, and a limit for those who write there."""
    (folder := tmp_path / "disk").mkdir()
    mount = shutil.which("mount") or "false"
    mounted = not subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True
    ).returncode
    yield folder, quick if mounted else partial(limits.file_size, 20_000)
    if mounted:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_becomes_full(workshop: Workshop, small_disk: tuple[Path, Callable[[], None]]) -> None:
    disk, limit = small_disk
    shutil.rmtree(disk / "case", ignore_errors=True)
    begun(workshop, TRAIN, folder := disk / "case")
    with open(disk / "filling", "wb") as filling:
        left = shutil.disk_usage(disk).free if limit is quick else 0
        filling.write(bytes(max(0, left - 60_000)))
    before = lasting(folder)
    said = ended(folder, TRAIN.words[0], limit, 4, nothing)
    assert re.search(r"cannot write \S+: (No space left on device|File too large); make room", said)
    assert [path for path in before if "state.pt" in path and lasting(folder)[path] != before[path]] == []
    (disk / "filling").unlink()
    goes_on(workshop, TRAIN, folder)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (TRAIN, r"--output runs is not writable; choose another folder"),
        (EVAL, r"seed-0/\S+: Permission denied; choose another place, or make this one yours to use"),
        (PUBLISH, r"board\S*: Permission denied; choose another place, or make this one yours to use"),
    ],
)
def test_folders_that_are_read_only(workshop: Workshop, tmp_path: Path, command: Command, said: str) -> None:
    begun(workshop, command, folder := tmp_path / "case")
    before, folders = lasting(folder), [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for each in folders:
        each.chmod(0o555)
    last = ended(folder, command.words[0], limits.no_rights, 2, nothing)
    for each in folders:
        each.chmod(0o755)
    assert re.search(said, last)
    assert lasting(folder) == before
    goes_on(workshop, command, folder)


def test_little_memory(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    line = "train madry digits --arch ./own.py:Wide --seeds 1 --epochs 1 --no-eval"
    said = ended(tmp_path, line, partial(limits.little_memory, 600 << 20), 1, nothing)
    assert re.search(r"out of memory with batches of \d+ on cpu; --batch-size \d+ would fit", said)


def test_a_system_without_locks_makes_do(workshop: Workshop, tmp_path: Path) -> None:
    """Also where a killed process has left what stood for one."""
    workshop.begun((), folder := tmp_path / "case")
    limit = partial(limits.no_locks, errno.ENOSYS)
    with forked(folder, *TRAIN.words[0].split(), begin=limit) as command:
        command.wait_for(lambda: list(folder.rglob("state.pt")))
        command.send(signal.SIGKILL)
        command.wait()
    with forked(folder, *TRAIN.words[0].split(), begin=limit) as command:
        assert command.wait() == 0, command.stderr
        assert "Warning" not in command.stderr
    whole = workshop.whole(TRAIN, TRAIN.words[0]).left
    assert {name: each for name, each in tree(folder).items() if name.endswith(".safetensors")}.items() <= whole.items()


def test_a_clock_that_runs_back(workshop: Workshop, tmp_path: Path) -> None:
    """Neither seconds nor weights depend on the time of day."""
    begun(workshop, TRAIN, folder := tmp_path / "case")
    line = f"{TRAIN.words[0]} --time-limit 1h"
    with forked(folder, *line.split(), begin=limits.clock_runs_back) as command:
        assert command.wait() == 0, command.stderr
    (about,) = folder.rglob("train.json")
    found = json.loads(about.read_text())
    assert min(found["seconds"], found["last_session_seconds"], *found["sections"].values()) >= 0
    goes_on(workshop, TRAIN, folder)


@pytest.mark.parametrize(
    ("command", "file"),
    [(TRAIN, "state.pt"), (TRAIN, "weights.safetensors"), (EVAL, "*.state"), (EVAL, "eval.*.json")],
)
def test_a_run_folder_that_is_removed_under_way(
    workshop: Workshop, tmp_path: Path, command: Command, file: str
) -> None:
    """Nothing is left in its place either."""
    workshop.begun(command.before, folder := tmp_path / "case")
    said = ended(folder, command.words[0], partial(limits.removed_runs, file), 4, nothing)
    assert re.search(r"seed-0\S* was removed while it was worked on; the same command begins anew", said)
    assert not {*os.listdir(folder)} - {"temporary"}
