"""What the documents show is what the code does: the board in the README, the worked example, the links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from robench_fire.entries import entries_in
from robench_fire.tables.render import render

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BOARDS = sorted(path.parent for path in (ROOT / "leaderboards").glob("*/*.md"))


def test_readme_shows_the_committed_board() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- board: (\S+) -->\n(.*?)<!-- /board -->", text, re.DOTALL)
    assert match is not None
    assert match[2].strip() == render(entries_in([ROOT / match[1]]), "md").strip()


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.name)
@pytest.mark.parametrize("style", ["md", "html"])
def test_generated_tables_equal_their_rows(board: Path, style: str) -> None:
    folders = [path for path in board.iterdir() if path.is_dir()]
    assert folders
    for folder in folders:
        text = folder.with_suffix(f".{style}").read_text(encoding="utf-8")
        assert text.strip() == render(entries_in([folder]), style).strip()


def test_there_is_a_board() -> None:
    assert ROOT / "leaderboards" / "digits" in BOARDS


def test_worked_example_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "adding-a-defense.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- example: (\S+) -->\n```python\n(.*?)```", text, re.DOTALL)
    assert match is not None
    (tmp_path / match[1]).write_text(match[2], encoding="utf-8")
    words = f"train ./{match[1]} digits --seeds 1 --epochs 2 --attack pgd20".split()
    command = [sys.executable, "-m", "robench_fire", *words]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "Hellinger" in ran.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_readme_has_exactly_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- command: (\w+) -->\n```sh\n[^\n]+\n```", text) == ["bench", "test"]
