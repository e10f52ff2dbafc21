"""Which defenses bench takes, and which of them get the weights that a user gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundled_defenses import NAMES
from checkpoint_files import saved, weights
from command_line import ran
from repository import DIGITS_BOARD

from robench_fire.boards.model_info import from_model_info
from robench_fire.cli.common.groups import RecipeOptions
from robench_fire.cli.measure import FIRE_TABLE, _chosen, requested
from robench_fire.problem.recipe import GivenWeights
from robench_fire.problem.settings import to_plain
from robench_fire.runs.folders import find
from robench_fire.runs.given_weights import given

TINY = ("--seeds", "1", "--epochs", "1", "--no-eval", "--jobs", "1")


def plans(folder: Path) -> dict[str, dict[str, object]]:
    return {plan["name"]: plan["recipe"] for plan in (run.read("plan.json") for run in find(folder / "runs"))}


def test_bench_alone_is_the_board_of_the_repository() -> None:
    board = [from_model_info(path).plan["name"] for path in DIGITS_BOARD.glob("*.json")]
    assert sorted(FIRE_TABLE.split(",")) == sorted(board)


@pytest.mark.parametrize("words", ["train pretraining digits", "bench digits --defenses madry,pretraining"])
def test_a_defense_that_is_named_must_get_its_weights(words: str, tmp_path: Path) -> None:
    said = ran(tmp_path, *words.split(), *TINY, code=3).stderr
    assert "pretraining begins from given weights: say --start FILE|RUN" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("names", ["fire,fire", "./one/mine.py,./two/mine.py", "trades,./trades.py"])
def test_two_defenses_of_one_name_are_refused(names: str, tmp_path: Path) -> None:
    """Whether they are the same or not."""
    for number, file in enumerate(("one/mine.py", "two/mine.py", "trades.py")):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        own = f"DEFENSE = replace(TRADES, beta={number + 3}.0)\n"
        begin = "from dataclasses import replace\nfrom robench_fire.defenses.trades import DEFENSE as TRADES, PAPER\n"
        (tmp_path / file).write_text(begin + own)
    said = ran(tmp_path, "bench", "digits", "--defenses", names, *TINY, code=2).stderr
    assert "have one name; leave one out, or rename its file" in said
    assert not (tmp_path / "runs").exists()


def test_given_weights_go_to_those_that_need_them(tmp_path: Path) -> None:
    path = saved(tmp_path / "seven.safetensors", weights(classes=7))
    ran(tmp_path, *"bench digits --defenses madry,pretraining --start".split(), str(path), *TINY)
    recipes = plans(tmp_path)
    assert set(recipes) == {"madry", "pretraining"}
    assert "start" not in recipes["madry"]
    of = given("--start", str(path)).identity.of
    assert recipes["pretraining"]["start"] == to_plain(GivenWeights(of=of, head="new"))


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("distances", ["fire", "hellinger", "ikl", "js", "trades", "tv"]),
        ("Distances,madry", ["fire", "hellinger", "ikl", "js", "trades", "tv", "madry"]),
        ("tv, distances ,./mine.py,", ["tv", "fire", "hellinger", "ikl", "js", "trades", "./mine.py"]),
        ("madry,all", ["madry", *sorted({*NAMES} - {"madry"})]),
        ("distances,distances", ["fire", "hellinger", "ikl", "js", "trades", "tv"]),
    ],
)
def test_a_group_stands_for_its_members(words: str, chosen: list[str]) -> None:
    """Each once, where it is first meant; what is named itself may lack nothing."""
    named, found = _chosen(words)
    assert [found[0], *sorted(found)] == [chosen[0], *sorted(chosen)]
    assert {*named} == {each.strip() for each in words.split(",")} & {"madry", "tv", "./mine.py"}


def test_no_name_is_no_defense(tmp_path: Path) -> None:
    assert "no defense is named" in ran(tmp_path, *"bench digits --defenses ,".split(), *TINY, code=2).stderr


def test_weights_that_nobody_needs_are_refused_and_one_method_takes_them(tmp_path: Path) -> None:
    path = saved(tmp_path / "some.pt", weights(10))
    for words in ("fire,trades", "distances"):
        said = ran(tmp_path, *f"bench digits --defenses {words} --start {path}".split(), *TINY, code=2).stderr
        assert f"--start {path}: none of {words} needs it; leave it out, or train one alone with it" in said
    (asked,) = requested("fire", "digits", RecipeOptions(start=str(path)))
    assert asked.start == str(path)


def test_a_group_is_no_defense(tmp_path: Path) -> None:
    said = ran(tmp_path, *"train distances digits".split(), *TINY, code=2).stderr
    assert "distances is a group of defenses, which bench and sweep take: fire, hellinger, ikl" in said
    assert ran(tmp_path, "ls", "groups").stdout.split()[:3] == ["groups", "distances", "fire,"]


def test_a_group_is_benched_in_l2(tmp_path: Path) -> None:
    """From training to the row, whose heading is the L2 ball; of a method for each way to find a perturbation."""
    short = ("--seeds", "1", "--epochs", "1", "--attack", "pgd20", "--examples", "9", "--jobs", "1")
    out = ran(tmp_path, *"bench digits --norm L2 --defenses madry,js".split(), *short).stdout
    assert "digits, L2, eps 0.5, 9 test images" in out
    assert {line.split()[1] for line in out.splitlines() if "DigitsCNN" in line} == {"Madry", "JS"}
    for run in find(tmp_path / "runs" / "digits" / "L2"):
        plan = run.read("plan.json")
        assert plan["threat"] == plan["claim"] == {"kind": "L2", "eps": "0.5"}
        assert plan["recipe"]["attack"]["step"] == "0.125"


@pytest.mark.slow
def test_all_are_those_that_need_no_weights(tmp_path: Path) -> None:
    said = ran(tmp_path, *"bench digits --defenses all --batch-size 512".split(), *TINY).stderr
    left = [line for line in said.splitlines() if "left out" in line]
    assert [line.split(":")[1].split()[0] for line in left] == ["hat", "pretraining"]
    assert left[1] == "left out: pretraining begins from given weights: say --start FILE|RUN"
    assert set(plans(tmp_path)) == set(NAMES) - {"hat", "pretraining"}
