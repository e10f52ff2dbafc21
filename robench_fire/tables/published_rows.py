"""Published figures as rows of texts, in RobustBench's own names; the package's CSV was written by this code."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import date
from importlib import resources
from operator import itemgetter
from pathlib import Path
from typing import Any

from robench_fire.boards.schema import unreadable
from robench_fire.data.fetching import data_folder
from robench_fire.errors import DataError
from robench_fire.files import write_text
from robench_fire.runs.folders import read_json

Fields = dict[str, str]

COLUMNS = (
    "dataset", "threat", "key", "name", "link", "authors", "venue", "architecture", "additional_data", "eps",
    "clean_acc", "autoattack_acc", "external", "reported", "unreliable", "note", "source",
)  # fmt: skip
NORMS = ("Linf", "L2")
"""Threats that a table can show; RobustBench's boards of corruptions are none of them."""


def kept() -> Path:
    """Where the figures lie that ``update`` brought; without this file those of the package count."""
    return data_folder() / "published.csv"


def shipped() -> list[Fields]:
    """The figures that come with the package."""
    return _packaged("published.csv")


def benchmarks() -> list[Fields]:
    """Means of benchmarks that train many methods alike, with their ``method``, ``seeds`` and ``train_seconds``.

    They are no entries of RobustBench, so that ``update`` leaves them alone and no rank counts them.
    """
    return _packaged("benchmarks.csv")


def _packaged(name: str) -> list[Fields]:
    file = resources.files("robench_fire.tables").joinpath(name)
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def in_use() -> list[Fields]:
    """The figures that ``update`` brought, or those that come with the package.

    Raises:
        DataError: if the former were changed into what cannot be read.
    """
    own = kept()
    if not own.is_file():
        return shipped()
    try:
        rows = list(csv.DictReader(io.StringIO(own.read_text(encoding="utf-8")), restval=""))
        if not rows:
            raise ValueError("it has no entry")
        for row in rows:
            itemgetter(*COLUMNS)(row), float(row["clean_acc"]), float(row["autoattack_acc"]), _best(row)
    except (OSError, ValueError, LookupError, csv.Error) as fault:
        raise DataError(f"{own} has been changed ({fault}); remove it, and update again") from None
    return rows


def update(source: Path) -> list[Fields]:
    """Keep the figures that ``source`` holds, and return them.

    They replace the boards that they are of; those of a single model_info file just its entry.

    Raises:
        DataError: see ``read``; or if the figures cannot be kept.
    """
    found = read(source)
    single = source.suffix == ".json"
    replaced = {_place(each)[: 3 if single else 2] for each in found}
    rows = [each for each in in_use() if not {_place(each), _place(each)[:2]} & replaced] + found
    rows.sort(key=lambda each: (*_place(each)[:2], -_best(each), each["key"]))
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    try:
        write_text(kept(), text.getvalue())
    except OSError as fault:
        raise DataError(f"{kept()} cannot be written: {fault.strerror}; set ROBENCH_DATA") from None
    return found


def _place(row: Fields) -> tuple[str, ...]:
    return row["dataset"], row["threat"], row["key"]


def _best(row: Fields) -> float:
    return float(row["external"] or row["autoattack_acc"])


def read(source: Path) -> list[Fields]:
    """The entries of a RobustBench checkout or folder of it, of one model_info file, or of a CSV with COLUMNS.

    Raises:
        DataError: naming what is not an entry, or if there is none.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist; --update reads a checkout of RobustBench, or its files")
    rows: dict[tuple[str, ...], Fields] = {}
    faults, made = [], _made(source)
    for where, info in _infos(source):
        wrong = unreadable(info) if info else ["not a JSON object"]
        if wrong:
            faults.append(f"{where} ({'; '.join(wrong)})")
        else:
            row = _row({"source": made} | info)
            rows[_place(row)] = row
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise DataError(f"not RobustBench's model_info: {', '.join(faults[:3])}{more}; nothing was taken over")
    if not rows:
        raise DataError(f"{source} has no model_info/<dataset>/<Linf or L2>/<Name>.json, and is no such file or CSV")
    return list(rows.values())


def _infos(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it is, model_info with "key" and "threat" but without what is empty); nothing of what is not JSON."""
    if source.suffix == ".csv":
        yield from _lines(source)
        return
    for path in [source] if source.is_file() else sorted(source.rglob("*.json")):
        threat = path.resolve().parent.name
        if threat in NORMS:
            try:
                info = read_json(path)
            except DataError:
                yield str(path), {}
            else:
                yield str(path), _filled(info) | {"key": path.stem, "threat": threat}


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, csv.Error) as fault:
        raise DataError(f"{path} cannot be read: {fault}") from None
    for number, line in enumerate(lines, 2):
        if line.get("threat") in NORMS:
            said = {name: line[name] for name in (*COLUMNS, "footnote") if line.get(name)}
            truths = {name: said[name].lower() == "true" for name in ("additional_data", "unreliable") if name in said}
            yield f"{path}, entry {number - 1}", _filled(said | truths)


def _filled(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is not empty, in one line each."""
    plain = {name: _plain(value) if isinstance(value, str) else value for name, value in info.items()}
    return {name: value for name, value in plain.items() if value not in (None, "")}


def _plain(text: str) -> str:
    return re.sub(r"(\s|<br ?/?>)+", " ", text).strip()


def _row(info: dict[str, Any]) -> Fields:
    said = {"note": note(info)} | info
    texts = {name: said.get(name, "") for name in COLUMNS}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in texts.items()}


def _made(source: Path) -> str:
    """What a table says of figures: the date of the git checkout that they lie in, else what was read and when."""
    folder = source if source.is_dir() else source.parent
    command = ["git", "-C", str(folder), "log", "-1", "--format=%cs", "--", "."]
    try:
        dated = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        dated = ""
    read = f", {source.resolve().name} as read on {date.today()}"
    return "RobustBench model_info" + (f" of {dated}" if dated else read)


_FACTS = (
    (r"(~?\d[\d.]*[KMB]?) (synthetic|generated|unlabell?ed|DDPM|EDM) (?:images|samples|data)", "{} {} images"),
    (r"= (0\.\d+ ≈ [\d.]+/255)", "eps {}"),
    (r"ensembles? of (\d+ models|networks)", "ensemble of {}"),
    (r"\b([A-Z][A-Za-z-]*(?:19|20)\d\d[A-Z0-9][\w-]*)", "built on {}"),
    (r"pre-?trained on (ImageNet-\w+)", "pre-trained on {}"),
    (r"\b(AutoAugment|AWP|EMA)\b", "with {}"),
    (r"(Compressed) model", "compressed"),
    (r"([\d.]+)% provable", "{} provably robust"),
)
"""What a footnote may say, and how we say it."""
_ATTACKS = r"(?:Adaptive )?AutoAttack|MultiTargeted|(?:transfer )?A?PGD(?:-[A-Z]+)?|BPDA|Square Attack|MALT"


def note(info: Mapping[str, Any]) -> str:
    """What the footnote of a model_info says in short, and a stronger evaluation, joined by "; "."""
    text = _plain(info.get("footnote", ""))
    said = [form.format(*found.groups()) for pattern, form in _FACTS if (found := re.search(pattern, text))]
    best = info.get("external", "")
    if best and float(best) < float(info["autoattack_acc"]):
        sentence = re.search(rf"\b{re.escape(best)}%[^%]*", text)
        attacks = re.findall(_ATTACKS, sentence[0]) if sentence else []
        authors = " (its authors)" if sentence and "original evaluation" in sentence[0] else ""
        said.append(f"{best} by {' and '.join(dict.fromkeys(attacks)) or 'a stronger evaluation'}{authors}")
    return "; ".join(said)
