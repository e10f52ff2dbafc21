"""Malformed inputs: a message and an exit code, never a traceback, and nothing of what is there is changed.

The inputs are the tables in tests/support/malformed/: a command line, what lies where it reads, and what is said.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from command_line import ran, robench
from malformed import Case, boards, copied, data, runs, state, the, weights, words
from repository import ROOT
from shared_folder import shared_folder
from verified_runs import finished
from weights_to_evaluate import initial

from robench_fire.problem import registry

TABLES = (words, runs, weights, data, boards)
CASES: list[Case] = [case for table in TABLES for case in table.CASES]
ROWS = ("Carmon2019Unlabeled_hidden", "Picot2021Adversarial", "Zhang2019Theoretically")
LISTS = (2, 7)  # exit codes of messages that may be lists: usage in a box, and every check of a bundle that fails


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, brief_attacks: None) -> Path:
    """What every command finds; not to be changed."""

    def make(folder: Path) -> Path:
        place = folder / "place"
        if not place.exists():
            finished(place / "runs")
            (place / "board/digits/Linf").mkdir(parents=True)
            for name in ROWS:
                shutil.copy(ROOT / f"leaderboards/all/digits/Linf/{name}.json", place / "board/digits/Linf")
            torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), place / "net.pt")
        return place

    return shared_folder(tmp_path_factory, "malformed", make)


def unlike(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_message_and_an_exit_code(case: Case, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, out = copied(made, tmp_path / "place"), io.StringIO()
    case.make(place)
    before = state(place)
    monkeypatch.chdir(place)
    with redirect_stdout(out), redirect_stderr(out):
        code = robench(*shlex.split(case.words))
    said = out.getvalue()
    assert code == case.code, said[-2000:]
    assert "Traceback" not in said
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)
    message = re.sub(r"[│\s]+", " ", said)
    assert re.search(".*".join(map(re.escape, case.said.split(" ... "))), message), message[-2000:]
    if code not in LISTS:
        lines = said[said.rindex("robench: ") :].splitlines()
        assert len(lines) <= 2
        assert max(map(len, lines)) < 1200
    changed = [name for name in unlike(before, state(place)) if not (case.besides and name.endswith(case.besides))]
    assert changed == []
    assert not (place / "executed").exists()


CODE = "from pathlib import Path\nPath('executed').touch()\ndef build(num_classes): ...\nDEFENSE = PAPER = build\n"
READING = (
    "table runs", "compare runs rst_adv rst_adv", "verify runs", "verify runs --recompute 3", "ls runs", "claims runs",
    "report runs", "site board", "plot curves runs -o a.png", "plot gallery runs -o a.png", "features runs",
    "eval runs --attack fgsm", "transfer runs", "reproduce runs rst_adv", "rm runs --only rst_adv",
    "submit runs/digits/Linf/rst_adv", "train trades digits --seeds 1 --teacher runs",
)  # fmt: skip


@pytest.mark.parametrize("command", READING)
def test_nothing_that_a_strangers_run_names_is_executed(
    command: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network, its defense and its data are files that lie beside it, called as the plan has them."""
    place = copied(made, tmp_path / "place")
    sha = hashlib.sha256(CODE.encode()).hexdigest()[:12]
    runs.plan("recipe", "arch", to=f"net.py@{sha}:build")(place)
    runs.plan("name", to="evil.py")(place)
    runs.plan("code", to=sha)(place)
    for folder in (place, the(place, "plan.json").parent):
        for name in ("net.py", "evil.py", "digits.py", "rst_adv.py"):
            (folder / name).write_text(CODE)
    monkeypatch.chdir(place)
    before = state(place)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert robench(*shlex.split(command)) in (0, 2, 3, 4, 7)
    assert not (place / "executed").exists()
    assert [name for name in unlike(before, state(place)) if name.startswith(("runs", "board"))] == []


def test_show_says_what_it_executes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (Path(registry.load("defenses", "trades").module.__file__ or "")).read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    told = json.loads(ran(tmp_path, "show", "./mine.py", "digits", "--json").stdout)
    assert told["executes"] == ["./mine.py"]
    assert json.loads(ran(tmp_path, "show", "trades", "digits", "--json").stdout)["executes"] == []
    said = ran(tmp_path, "show", "./mine.py", "digits").stdout
    assert "executes code that you name, which can do whatever you can: ./mine.py" in " ".join(said.split())


def test_the_page_says_how_many_there_are() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    parts = {table.__name__.rpartition(".")[2]: len(table.CASES) for table in TABLES}
    assert f"**{sum(parts.values())} malformed inputs**" in page
    for name, count in parts.items():
        assert f"`{name}.py` | {count} |" in page
    assert len({case.name for case in CASES}) == len(CASES)
