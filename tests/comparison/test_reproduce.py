"""robench reproduce: rows beside published figures, what compares, and the tolerance."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from altered_rows import CIFAR, measured, planned
from command_line import ran
from repository import BOARDS, DIGITS_BOARD
from written_runs import write_five, write_run

from robench_fire.boards.rows import Row
from robench_fire.cli.results.verdicts import reproduced
from robench_fire.comparison.reproduce import Reproduction, as_plain, reproduce
from robench_fire.runs.compose import Request


def full(
    method: str, clean: float, robust: float, arch: str = "wrn-34-10", profile: str = "matched", **changes: Any
) -> Row:
    """A row of CIFAR-10 as the papers have it: whole network, all test images, five seeds."""
    row = replace(measured(CIFAR[method], clean, robust, spread=(-0.2, -0.1, 0.0, 0.1, 0.2)), examples=10_000)
    return planned(row, {"arch": arch}, profile=profile, **changes)


def beside(row: Row, source: str, measure: str = "robust") -> Reproduction:
    found = [each for each in reproduce([row]) if each.source.startswith(source) and each.measure == measure]
    return found[0]


def test_what_is_within_the_tolerance_is_reproduced_and_what_is_not_is_different() -> None:
    row = full("FIRE", 86.1, 51.9)  # published: 85.98 ± 0.09, 51.45 ± 0.32
    clean, robust = beside(row, "FIRE, Table 1", "clean"), beside(row, "FIRE, Table 1")
    assert (clean.outcome, robust.outcome) == ("reproduced", "reproduced")
    assert clean.difference == pytest.approx(0.12)
    assert beside(full("FIRE", 86.1, 52.2), "FIRE, Table 1").outcome == "different"
    assert beside(full("FIRE", 86.1, 50.7), "FIRE, Table 1").outcome == "different"


def test_the_tolerance_is_twice_the_pooled_spread() -> None:
    row = full("FIRE", 86.0, 51.0)
    std = row.over_seeds("robust").std
    assert std is not None
    assert beside(row, "FIRE, Table 1").tolerance == pytest.approx(2 * math.sqrt((std**2 + 0.32**2) / 2))
    assert beside(full("TRADES", 85.0, 53.0, profile="official"), "RobustBench").tolerance == pytest.approx(2 * std)


def test_fewer_images_widen_the_tolerance_by_their_choice_among_all() -> None:
    whole = full("FIRE", 86.0, 50.0)
    thousand = beside(replace(whole, examples=1000), "FIRE, Table 1").tolerance
    of_all = beside(whole, "FIRE, Table 1").tolerance
    assert thousand is not None
    assert of_all is not None
    assert thousand**2 - of_all**2 == pytest.approx(4 * 50**2 / 1000 * 0.9)
    assert beside(replace(whole, examples=1000), "FIRE").notes[0].startswith("On 1,000 test images, not 10,000")
    assert beside(whole, "FIRE").notes == ()


def test_a_single_seed_takes_the_published_spread_and_says_so() -> None:
    row = full("FIRE", 86.0, 51.0)
    one = replace(row, per_seed={0: row.per_seed[0]})
    found = beside(one, "FIRE, Table 1")
    assert found.tolerance == pytest.approx(2 * 0.32)
    assert "A single seed of ours: the tolerance is from the published spread alone." in found.notes
    trades = full("TRADES", 84.9, 53.1, profile="official")
    none = beside(replace(trades, per_seed={0: trades.per_seed[0]}), "RobustBench", "clean")
    assert (none.tolerance, none.outcome) == (None, "not comparable")
    assert none.reasons == ("spread: a single seed of ours, and none published",)


@pytest.mark.parametrize(
    ("row", "source", "reason"),
    [
        (full("FIRE", 86, 51, arch="resnet-18"), "FIRE, Table 1", "architecture: ResNet-18, not WideResNet-34-10"),
        (full("FIRE", 86, 51, profile="short"), "FIRE, Table 1", "recipe: short profile, not matched or official"),
        (full("FIRE", 86, 51, by_hand={"recipe.epochs": 30}), "FIRE, Table 1", "epochs: 30 by hand"),
        (full("TRADES", 86, 51, by_hand={"defense.beta": 1.0}), "FIRE, Table 1", "defense: beta 1.0 by hand"),
        (full("FIRE", 86, 51, arch="wrn-28-10"), "FIRE, Table 2", "data: no further images"),
        (full("RST-adv", 89, 59, arch="wrn-28-10", profile="official"), "FIRE, Table 2",
         "data: some labels hidden, no further images"),
        (full("TRADES", 86, 51), "FIRE, Table 2", "recipe: matched profile, not official"),
        (full("TRADES", 86, 51, profile="official"), "FIRE, Table 1", "recipe: official profile, not matched"),
        (full("TRADES", 85, 53, profile="official"), "RobustBench", "eps: attacked at 8/255, not 0.031"),
        (replace(full("FIRE", 86, 51), attack="pgd20"), "FIRE, Table 1", "attack: PGD-20, not AutoAttack"),
    ],
)  # fmt: skip
def test_every_reason_why_rows_do_not_compare(row: Row, source: str, reason: str) -> None:
    found = beside(row, source)
    assert (found.outcome, found.reasons) == ("not comparable", (reason,))


def test_a_radius_that_differs_by_little_may_train_and_another_may_not() -> None:
    row = full("FIRE", 86.0, 51.4)
    near = replace(row, plan=row.plan | {"threat": {"kind": "Linf", "eps": "0.031"}})
    far = replace(row, plan=row.plan | {"threat": {"kind": "Linf", "eps": "4/255"}})
    assert beside(near, "FIRE, Table 1").outcome == "reproduced"
    assert beside(far, "FIRE, Table 1", "clean").reasons == ("eps: trained at 4/255, not 8/255",)


def test_a_figure_at_the_radius_of_the_training_is_met_by_ours_there() -> None:
    row = full("TRADES", 84.9, 52.5, profile="official",
               at_training_radius={str(seed): 53.0 + 0.1 * seed for seed in range(5)})  # fmt: skip
    row = replace(row, plan=row.plan | {"threat": {"kind": "Linf", "eps": "0.031"}})
    found = beside(row, "RobustBench")
    assert found.ours.mean == pytest.approx(53.2)
    assert (found.outcome, found.reasons) == ("reproduced", ())
    assert beside(row, "FIRE, Table 2").ours.mean == pytest.approx(52.5)


@pytest.mark.parametrize("reading", [{"lam": 20.0}, {"distance": "geodesic"}])
def test_the_readings_of_fires_strength_compare_and_another_does_not(reading: dict[str, Any]) -> None:
    by_hand = {f"defense.{name}": value for name, value in reading.items()}
    row = planned(full("FIRE", 86.0, 51.4), defense=reading, by_hand=by_hand)
    assert beside(row, "FIRE, Table 1").outcome == "reproduced"
    other = planned(row, defense={"lam": 6.0}, by_hand=by_hand | {"defense.lam": 6.0})
    assert "defense: lam 6.0 by hand" in beside(other, "FIRE, Table 1").reasons


def test_precision_is_no_other_recipe() -> None:
    assert beside(full("FIRE", 86, 51.4, by_hand={"recipe.precision": "bf16"}), "FIRE").outcome == "reproduced"


def test_unreliable_and_unfinished_rows_are_kept_and_marked() -> None:
    row = full("FIRE", 86.0, 51.4)
    row = replace(row, unfinished=(5,), facts=row.facts | {"verdicts": {"0": {"verdict": "unreliable", "reasons": []}}})
    found = beside(row, "FIRE, Table 1")
    assert found.outcome == "reproduced"
    assert found.notes == ("AutoAttack's result for FIRE is unreliable.", "FIRE lacks seed 5.")
    assert "unreliable" not in " ".join(beside(row, "FIRE, Table 1", "clean").notes)


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_and_every_reason_is_numbered(width: int) -> None:
    found = reproduce(list(CIFAR.values()))
    lines = reproduced(found, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for reason in {reason for each in found for reason in each.reasons}:
        assert f"] Not comparable because of {reason}." in text
    assert f"0 reproduced, 0 different, {len(found)} not comparable." in text


def test_the_command_on_the_committed_boards(tmp_path: Path) -> None:
    shown = ran(tmp_path, "reproduce", str(BOARDS / "cifar10")).stdout
    assert "FIRE beside FIRE, Table 1" in shown
    assert "architecture: WideResNet-10-1, not WideResNet-34-10" in " ".join(shown.split())
    digits = ran(tmp_path, "reproduce", str(DIGITS_BOARD)).stdout
    assert digits == "Nothing is published of these methods for digits Linf.\n"
    plain = json.loads(ran(tmp_path, "reproduce", str(BOARDS / "cifar10"), "--json").stdout)
    assert plain == {"format": 1, "figures": json.loads(json.dumps([as_plain(each) for each in shown_of()]))}


def shown_of() -> list[Reproduction]:
    from robench_fire.comparison.compare import rows_at

    return reproduce(rows_at([BOARDS / "cifar10"]))


def test_a_comparable_figure_outside_ends_with_exit_code_7(tmp_path: Path) -> None:
    write_five(tmp_path / "runs", dataset="cifar10")
    ended = ran(tmp_path, "reproduce", "runs", code=7)
    assert "different" in ended.stdout
    assert "1 of 2 figures that compare differ from what was published, like FIRE's clean accuracy (FIRE, Table 1)" in (
        ended.stderr.replace("\n", " ")
    )
    assert json.loads(ran(tmp_path, "reproduce", "runs", "--json", code=7).stdout)["figures"]


def test_rows_that_reach_it_end_with_0(tmp_path: Path) -> None:
    for seed, off in enumerate((-0.1, 0.0, 0.1)):
        write_run(tmp_path / "runs", Request(defense="fire", dataset="cifar10"), seed, 86 + off, 51 + off,
                  examples=10_000)  # fmt: skip
    assert "2 reproduced, 0 different" in ran(tmp_path, "reproduce", "runs").stdout


@pytest.mark.parametrize("command", ["reproduce", "claims"])
def test_what_is_no_board_is_said(tmp_path: Path, command: str) -> None:
    (tmp_path / "empty").mkdir()
    assert "absent does not exist" in ran(tmp_path, command, "absent", code=4).stderr
    assert "empty holds no evaluated rows of ours" in ran(tmp_path, command, "empty", code=4).stderr
