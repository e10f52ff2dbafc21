"""The commands on the pages: each is one that the command line takes, and is run here or says what it needs.

A block of commands has a mark in the line before it: ``<!-- runs -->`` is run here, in a folder with a few runs;
``<!-- runs: short -->`` too, but for an epoch or with a weak attack; ``<!-- runs: tests/FILE.py -->`` is run there;
``<!-- needs: WHAT -->`` says what it takes, which the site shows above it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import robench
from own_images import arrays, class_folders, npz
from page_commands import BLOCKS, MARK, PAGES, Block, spans_of
from repository import ROOT
from shared_folder import shared_folder

from robench_fire.cli import app

GROUP: Any = typer.main.get_command(app)
SHORT = "--seeds 1 --epochs 1 --examples 20 --jobs 1".split()
HERE = [block for block in BLOCKS if block.mark in {"runs", "runs: short"}]
EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def parsed(words: list[str]) -> None:
    """Raises what the command line would say to it."""
    GROUP.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_commands_in_blocks_are_commands(block: Block) -> None:
    for words in block.commands:
        parsed(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_are_commands(page: Path) -> None:
    """They may leave out arguments."""
    for words in spans_of(page):
        if words[0].startswith("-") or words[0] == "COMMAND":
            continue
        try:
            parsed(["1" if word == "POINTS" else word for word in words])
        except Exception as fault:
            if type(fault).__name__ != "MissingParameter" and "requires an argument" not in str(fault):
                raise AssertionError(f"robench {' '.join(words)}: {fault}") from fault


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_blocks_are_run_or_say_what_they_need(block: Block) -> None:
    assert MARK.fullmatch(block.mark), f"put <!-- runs --> or <!-- needs: WHAT --> before\n{block.text}"
    if block.mark.startswith("runs: tests/"):
        assert (ROOT / block.mark.removeprefix("runs: ")).exists()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of a few defenses, the boards, and the worked examples."""
    return shared_folder(tmp_path_factory, "page-commands", _prepare)


def _prepare(folder: Path) -> Path:
    if not (folder / "done").exists():
        for page in ("adding-a-defense.md", "own-attack.md", "own-data.md", "own-network.md"):
            for name, code in EXAMPLE.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
                (folder / name).write_text(code, encoding="utf-8")
        class_folders(folder / "mydata", each=10)
        class_folders(folder / "photos", each=4, mode="RGB", size=50)
        npz(folder, "mydata.npz", **arrays())
        shutil.copy(folder / "hellinger.py", folder / "mine.py")
        (folder / "leaderboards").symlink_to(ROOT / "leaderboards")
        few = ["--seeds", "2", "--epochs", "1", "--examples", "20", "--jobs", "1"]
        _run_in(folder, "bench", "digits", "--defenses", "fire,trades,mart,madry", *few)
        _run_in(folder, "train", "fire", "digits", "--set", "defense.lam=20", "--output", "strong", *few)
        weights = sorted((folder / "strong").rglob("weights.safetensors"))
        shutil.copy(weights[0], folder / "mine.safetensors")
        (folder / "done").touch()
    return folder


def _run_in(folder: Path, *words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert robench(*words) in {0, 7 if words[0] == "reproduce" else 0}, words


@pytest.mark.slow
@pytest.mark.parametrize("block", HERE, ids=lambda block: f"{block.page}:{block.line}")
def test_blocks_that_say_so_run(block: Block, prepared: Path, tmp_path: Path, brief_attacks: None) -> None:
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder, symlinks=True)
    if "lam=20" in block.text:
        shutil.copytree(folder / "strong", folder / "runs", dirs_exist_ok=True)
    for words in block.commands:
        _run_in(folder, *words, *_besides(words, block.mark == "runs: short"))


def _besides(words: list[str], short: bool) -> list[str]:
    """What is added to a command."""
    if words[0] == "rm":
        return ["--yes"]  # nobody can be asked here
    trains = words[0] in {"train", "bench", "sweep"}
    weak = words[0] == "sweep" or "--until" in words  # many networks, or many attacks on two
    return [*(SHORT if trains else []), *(["--attack", "pgd20"] if weak else [])] if short else []
