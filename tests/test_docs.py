"""What the documents show is what the code does: the board in the README, the worked example, the links."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import figures
import pytest
import torch
from command_line import ran
from repository import ROOT

from robench_fire.problem.dataset import Splits
from robench_fire.problem.defense import Views
from robench_fire.runs.compose import Request, compose
from robench_fire.tables.entries import entries_in
from robench_fire.tables.render import render
from robench_fire.training.engine import train
from robench_fire.training.setup import Problem

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BOARDS = sorted(path.parent for path in (ROOT / "leaderboards").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_figures_are_those_of_the_files_that_hold_them(page: Path) -> None:
    """`python docs/figures.py` writes them."""
    text = page.read_text(encoding="utf-8")
    assert figures.written(text) == text


def test_every_block_of_figures_stands_on_a_page_once() -> None:
    named = re.findall(r"<!-- figures: ([\w-]+) -->", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    assert sorted(named) == sorted(figures.BLOCKS)


OWN_FIGURES = {"performance.md", "deviations.md", "defenses.md", "results.md", "submitting.md"}
"""Pages that hold what was measured for them alone, or quote papers."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in OWN_FIGURES], ids=lambda path: path.name)
def test_no_mean_is_typed_by_hand(page: Path) -> None:
    """So that one figure cannot stand in two places with two values."""
    text = figures.MARK.sub("", page.read_text(encoding="utf-8"))
    assert not re.findall(r"\d+\.\d+ ± \d+\.\d+", text)


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.relative_to(ROOT / "leaderboards").as_posix())
@pytest.mark.parametrize("style", ["md", "html"])
def test_generated_tables_equal_their_rows(board: Path, style: str) -> None:
    folders = [path for path in board.iterdir() if path.is_dir()]
    assert folders
    for folder in folders:
        text = folder.with_suffix(f".{style}").read_text(encoding="utf-8")
        text = re.sub(r"<figure>.*?</figure>\n", "", text, flags=re.DOTALL)  # drawn by a version of matplotlib
        assert text.strip() == render(entries_in([folder]), style).strip()


def test_there_is_a_board() -> None:
    assert {ROOT / "leaderboards" / name for name in ("digits", "cifar10", "all/digits")} <= set(BOARDS)


TEACHING = (ROOT / "docs" / "adding-a-defense.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", TEACHING, re.DOTALL))


def test_worked_example_runs(tmp_path: Path) -> None:
    (tmp_path / "hellinger.py").write_text(EXAMPLES["hellinger.py"], encoding="utf-8")
    words = "train ./hellinger.py digits --seeds 1 --epochs 2 --attack pgd20".split()
    assert "Hellinger" in ran(tmp_path, *words).stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_composed_and_trained(name: str, tmp_path: Path, checkpoint: Path, small: Splits) -> None:
    """A short epoch; its terms are those of the file."""
    (tmp_path / name).write_text(EXAMPLES[name], encoding="utf-8")
    teacher = str(checkpoint) if "teacher_reads" in EXAMPLES[name] else ""
    composed = compose(Request(defense=str(tmp_path / name), dataset="digits", teacher=teacher))
    plan, images = composed.plan, small.train.take(slice(64))
    recipe = replace(plan.recipe, epochs=2, batch_size=32)
    given = Problem(plan.defense, plan.threat, recipe, images, images, 10, teacher=composed.teacher)
    row = train(composed.build, given, seed=0, device=torch.device("cpu")).curve[-1]
    terms = {key.removeprefix("loss_") for key in row if key.startswith("loss_")}
    assert terms
    assert all(f'"{term}"' in EXAMPLES[name] for term in terms - {"natural", "robust"})


def test_every_need_has_an_example() -> None:
    """Each word of the table, and each field of a defense that is not for logits."""
    table = TEACHING.partition("## What a loss can be given")[2].partition("### ")[0]
    words = "View around features gradients_at over_batch inner_over_batch Ramp teacher_reads AdversarialWeights"
    for word in words.split():
        assert word in table
        assert any(word in code for code in EXAMPLES.values())
    for field in Views._fields[4:]:
        assert f"views.{field}" in table


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_readme_has_exactly_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- command: (\w+) -->\n```sh\n[^\n]+\n```", text) == ["bench", "test"]


def _missing(file: str, names: str) -> list[str]:
    """The names in backticks that a file of the package does not define."""
    code = (ROOT / "robench_fire" / file).read_text(encoding="utf-8")
    found = re.findall(r"`(\w+)`", names)
    return [name for name in found if not re.search(rf"^ *((def|class) {name}\b|{name}\b.*=)", code, re.MULTILINE)]


def test_the_places_to_extend_are_there() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `([\w/]+\.py)` \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) > 10
    assert [(file, names) for file, names in rows if _missing(file, names)] == []


def test_twenty_behaviours_stand_where_the_map_says() -> None:
    page = (ROOT / "docs" / "overview.md").read_text(encoding="utf-8")
    text = page.partition("two guesses\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| `([\w/]+\.py)` \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) == 20
    assert [(file, names) for file, names in rows if _missing(file, names)] == []
