"""What the pages say of kills, changed bytes and malformed inputs."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from figures_boards import ROOT, listed

WHAT = {"train": "training", "eval": "evaluation", "bench": "bench", "publish": "publishing"}
MALFORMED = {
    "words": "command lines and overrides",
    "runs": "plans, records of trainings and evaluations, curves, masks",
    "weights": "checkpoints, states, perturbed images",
    "data": "images in folders, npz, functions, of Hugging Face, extra data, official files; defenses and networks in "
    "files",
    "boards": "rows, published figures, figures' files, bundles",
}


def _faults() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "results" / "faults.json").read_text(encoding="utf-8"))
    return found


def faults_kills() -> str:
    """What came of commands that were killed."""
    found = _faults()
    lines = ["| command | kills | commands that were killed | most kills of one | survived | lost | left over |",
             "| --- " + "| ---: " * 6 + "|"]  # fmt: skip
    for title, each in [*found["commands"].items(), ("all", found["all"])]:
        kind, _, name = title.partition(" ")
        counts = " | ".join(f"{each[key]:,}" for key in ("kills", "cases", "most in one", "kills survived", "lost",
                                                          "left over"))  # fmt: skip
        lines.append(f"| {WHAT.get(kind, kind)} {name}".rstrip() + f" | {counts} |")
    every = found["all"]
    signals = listed([f"{count:,} {name}" for name, count in every["signals"].items()])
    wrong = "".join(f"\n- {each}" for each in every["wrong"])
    return "\n".join(lines) + (
        f"\n\nBy `{found['command']}`, commit {found['commit'][:12]}, {found['platform']}, Python {found['python']}, "
        f"torch {found['torch']}, {found['seconds'] / 60:.0f} minutes: {signals}.{wrong}"
    )


def faults_bytes() -> str:
    """What came of changed bytes."""
    found = _faults()["bytes"]
    every, count = found["all"], sum(found["all"].values())
    return (
        f"The same command changed {count:,} bytes of the {len(found['files'])} files of a finished run, one at a "
        f"time: {every['found']:,} were found, {every['same values']:,} left the same values, {every['missed']:,} were "
        "missed."
    )


def malformed_inputs() -> str:
    """How many there are."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    try:
        tables = {name: importlib.import_module(f"malformed.{name}").CASES for name in MALFORMED}
    finally:
        sys.path.pop(0)
    lines = [f"**{sum(map(len, tables.values()))} malformed inputs**, each given to the command line:", "",
             "| inputs in `tests/support/malformed/` | how many | of |", "| --- | ---: | --- |"]  # fmt: skip
    return "\n".join([*lines, *(f"| `{name}.py` | {len(tables[name])} | {of} |" for name, of in MALFORMED.items())])
