"""What the documents show is what the code does: the board in the README, the worked example, the links."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from command_line import ran
from repository import ROOT

from robench_fire.tables.entries import entries_in
from robench_fire.tables.render import render

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BOARDS = sorted(path.parent for path in (ROOT / "leaderboards").glob("*/*.md"))


def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_figures_are_those_of_the_files_that_hold_them(page: Path) -> None:
    """`python docs/figures.py` writes them."""
    text = page.read_text(encoding="utf-8")
    assert figures().written(text) == text


def test_every_block_of_figures_stands_on_a_page_once() -> None:
    named = re.findall(r"<!-- figures: ([\w-]+) -->", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    assert sorted(named) == sorted(figures().BLOCKS)


OWN_FIGURES = {"performance.md", "deviations.md", "defenses.md", "results.md", "submitting.md"}
"""Pages that hold what was measured for them alone, or quote papers."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in OWN_FIGURES], ids=lambda path: path.name)
def test_no_mean_is_typed_by_hand(page: Path) -> None:
    """So that one figure cannot stand in two places with two values."""
    text = figures().MARK.sub("", page.read_text(encoding="utf-8"))
    assert not re.findall(r"\d+\.\d+ ± \d+\.\d+", text)


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
    assert "Hellinger" in ran(tmp_path, *words).stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_readme_has_exactly_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- command: (\w+) -->\n```sh\n[^\n]+\n```", text) == ["bench", "test"]


def test_twenty_behaviours_stand_where_the_map_says() -> None:
    page = (ROOT / "docs" / "overview.md").read_text(encoding="utf-8")
    text = page.partition("two guesses\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| `([\w/]+\.py)` \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) == 20
    for file, names in rows:
        code = (ROOT / "robench_fire" / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^ *(def|class) {name}\b", code, re.MULTILINE), (file, name)
