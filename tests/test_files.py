"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import listed

from robench_fire import files
from robench_fire.errors import UsageError
from robench_fire.runs import folders


def test_a_file_is_replaced_when_the_body_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    for content in ("old", "new"):
        with files.replaced(path) as partial:
            assert partial.parent == path.parent
            partial.write_text(content)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == content
    assert listed(path.parent) == {"a.txt"}


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_a_failing_body_leaves_what_was_there(tmp_path: Path, fault: type[BaseException], before: str | None) -> None:
    def interrupted() -> None:
        with files.replaced(path) as partial:
            partial.write_text("half")
            raise fault

    path = tmp_path / "a.txt"
    if before:
        path.write_text(before)
    with pytest.raises(fault):
        interrupted()
    assert listed(tmp_path) == ({"a.txt"} if before else set())
    assert not before or path.read_text() == before


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "new")
    assert listed(tmp_path) == {"a.txt"}
    assert path.read_text() == "old"


def test_a_body_that_writes_nothing_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), files.replaced(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"
    assert listed(tmp_path) == {"a.txt"}


def test_the_content_is_on_the_disk_before_the_name_points_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (done.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(files.os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    files.write_text(tmp_path / "a.txt", "new")
    assert done == ["fsync", "replace", "fsync"]  # and the name, too


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_json_is_refused_and_changes_nothing(tmp_path: Path, number: float) -> None:
    files.write_json(tmp_path / "a.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"curve": [{"loss": number}]})
    assert folders.read_json(tmp_path / "a.json") == {"loss": 1.0}
    assert listed(tmp_path) == {"a.json"}


def test_json_is_readable_and_keeps_its_letters(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"title": "Fisher–Rao, λ", "eps": "8/255"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "title": "Fisher–Rao, λ",\n  "eps": "8/255"\n}\n'


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"weights")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()


def test_a_file_has_the_permissions_of_other_new_files(tmp_path: Path) -> None:
    """Also where a library writes it for its owner alone."""
    (tmp_path / "usual").touch()
    with files.replaced(tmp_path / "a.bin") as partial:
        partial.touch(0o600)
        partial.write_bytes(b"weights")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "usual").stat().st_mode


HOLDER = """
import errno, fcntl, os, sys, time
from pathlib import Path
from robench_fire import files

def refused(*given):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

fcntl.flock, files.LEASE = refused, 1.0
with files.held(Path(sys.argv[1]), "another process works", "cannot write"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems that know none."""

    def refused(*given: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(files, "LEASE", 1.0)


@pytest.mark.usefixtures("no_locks")
def test_a_lease_is_respected_while_it_is_touched_and_taken_over_afterwards(tmp_path: Path) -> None:
    """A process that is stopped touches nothing, as one of a machine that is gone."""
    lock = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            said = rf"another process \({other.pid} on .* since .*\) works"
            with pytest.raises(UsageError, match=said), files.held(lock, "another process works", "cannot write"):
                pytest.fail("two hold it")
            other.send_signal(signal.SIGSTOP)
            with files.held(lock, "another process works", "cannot write"):
                pass
        finally:
            other.kill()
    assert not list(tmp_path.glob("*.lease"))
