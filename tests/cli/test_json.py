"""Every command that reads prints one JSON document with --json, and nothing else on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import COMMAND, ran
from repository import DIGITS_BOARD

from robench_fire.cli import app

PGD = "--attack pgd20 --examples 20 --jobs 1"
QUICK = "--epochs 1 --set recipe.attack.steps=1 --set recipe.attack.step=0.2"
READING = {
    "sweep": f"sweep madry digits --over recipe.batch_size=128,256 --output swept --seeds 1 {QUICK} {PGD}",
    "eval": f"eval runs --norm Linf,L2 --eps 0.2,0.5 {PGD}",
    "corruptions": "corruptions runs/digits/Linf/fire --examples 20",
    "transfer": "transfer runs/digits/Linf --examples 20",
    "features": "features runs/digits/Linf/fire --examples 20",
    "table": "table runs",
    "compare": f"compare {DIGITS_BOARD} fire trades",
    "reproduce": f"reproduce {DIGITS_BOARD}",
    "claims": f"claims {DIGITS_BOARD}",
    "verify": "verify runs",
    "theory": "theory distance",
    "submit": "submit --check bundle",
    "ls": "ls",
    "show": "show fire digits",
    "profile": f"profile fire digits {QUICK} --batch-size 32",
    "doctor": "doctor",
}
"""A line of each."""
MORE = {
    "table of each seed": f"table {DIGITS_BOARD} --per-seed",
    "table among published rows": f"table {DIGITS_BOARD} --ci --published",
    "ls of runs": "ls runs",
    "compare until": "compare runs fire madry --until 20 --attack pgd20",
}
"""Other readings of the same commands."""
CODES = {"submit": 7}
"""Of a bundle in which everything is missing, which is said as JSON, too."""
WITHOUT = {
    "demo": "shows the way to a newcomer, on a terminal",
    "init": "writes a file",
    "train": "writes runs; `table --json` reads them",
    "bench": "writes runs; `table --json` reads them",
    "plot": "writes pictures, the data beside each",
    "report": "writes a page",
    "site": "writes pages, and JSON beside them",
    "rm": "removes runs; `ls RUNS --json` reads what is left",
    "data": "brings files; `doctor --json` reads what is there",
}
"""Commands that print nothing to be read by a program, and why."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods' runs, evaluated, and an empty bundle."""
    folder = tmp_path_factory.mktemp("read")
    (folder / "bundle").mkdir()
    ran(folder, *f"bench digits --defenses fire,madry --seeds 1 {QUICK} {PGD}".split())
    return folder


def document(text: str) -> Any:
    """The only one in a text; NaN and Infinity are no JSON."""

    def refused(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refused)


def test_every_command_reads_or_says_why_not() -> None:
    own = {name for name, command in COMMAND(app).commands.items()  # type: ignore[attr-defined]
           if any("--json" in each.opts for each in command.params)}  # fmt: skip
    assert own == set(READING)
    assert not own & set(WITHOUT)
    assert own | set(WITHOUT) == set(COMMAND(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [*READING, *MORE])
def test_json_is_all_that_is_printed(name: str, here: Path) -> None:
    line = (READING | MORE)[name]
    found = document(ran(here, *line.split(), "--json", code=CODES.get(name, 0)).stdout)
    assert found["format"] == 1
