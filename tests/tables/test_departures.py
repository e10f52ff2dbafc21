"""What a method's own file changes against the shared recipe shows in its row."""

from __future__ import annotations

from pathlib import Path

import pytest
from repository import BOARDS

from robench_fire.boards.model_info import from_model_info
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.differences import departures
from robench_fire.tables.entries import entries_in, of_row
from robench_fire.tables.render import FORMATS, render

# not those of given weights or teachers, which are no part of the repository
FILES = sorted(
    path for path in BOARDS.rglob("Linf/*.json") if not {*from_model_info(path).plan["recipe"]} & {"start", "teacher"}
)
MINE = """from robench_fire.defenses.trades import DEFENSE
from robench_fire.problem.defense import Paper
PAPER = Paper(key="Mine2026", method="Mine", title="T", authors="A", venue="V", link="https://example.org")
def matched(plan):
    return plan.with_recipe(epochs=7).with_attack(steps=3, step=plan.recipe.attack.step)
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_committed_rows_departures_are_those_of_its_file(path: Path) -> None:
    row = from_model_info(path)
    plan, by_hand = row.plan, row.facts["by_hand"]
    request = Request(
        defense=plan["name"], dataset=plan["dataset"], profile=plan["profile"], arch=plan["recipe"]["arch"]
    )
    own = departures(compose(request), request)
    assert row.facts["departures"] == {name: pair for name, pair in own.items() if name not in by_hand}


def test_a_users_file_says_what_it_changes_and_what_the_user_sets_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("steps=3", "steps=12"))
    request = Request(defense=str(tmp_path / "mine.py"), dataset="digits")
    found = departures(compose(request), request)
    assert found["recipe.epochs"] == [7, 20]
    assert found["recipe.attack.steps"][0] == 12
    assert set(found) == {"recipe.epochs", "recipe.attack.steps"}
    request = Request(defense=str(tmp_path / "mine.py"), dataset="digits", settings=(("--set", "recipe.epochs", "9"),))
    assert set(departures(compose(request), request)) == {"recipe.attack.steps"}


@pytest.mark.parametrize("defense", ["fire", "trades", "self_adaptive"])
def test_a_method_that_keeps_to_the_recipe_has_none(defense: str) -> None:
    request = Request(defense=defense, dataset="digits", epochs=3, arch="digits-cnn")
    assert departures(compose(request), request) == {}


@pytest.mark.parametrize("style", [style for style in FORMATS if style not in ("terminal", "bibtex")])
def test_departures_show_in_every_format(style: str) -> None:
    text = render(entries_in([BOARDS / "digits" / "Linf"]), style).replace("&#39;", "'").replace("\\_", "_")
    assert "MART's own setting: recipe.attack.start uniform (shared: gaussian)." in text


def test_a_row_of_before_this_was_recorded_is_read() -> None:
    row = from_model_info(BOARDS / "digits" / "Linf" / "Madry2018Towards.json")
    del row.facts["departures"]
    assert of_row(row).notes == ()
