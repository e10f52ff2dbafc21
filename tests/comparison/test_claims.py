"""robench claims: the FIRE paper's claims, each verdict on rows where it must come out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altered_rows import EVERY, measured, planned
from command_line import ran
from repository import BOARDS, DIGITS_BOARD, ROOT
from scipy.stats import linregress

from robench_fire.boards.model_info import publish
from robench_fire.boards.rows import Row
from robench_fire.comparison import claims
from robench_fire.comparison.claim import estimate
from robench_fire.comparison.claims import Verdict, decide, sentence
from robench_fire.comparison.fire_claims import FIRE_CLAIMS, strength
from robench_fire.comparison.scores import scores

CLAIMS = {each.name: each for each in FIRE_CLAIMS}
COMMITTED = {"all/digits": "digits-claims.json", "fire_strength/digits": "digits-strength-claims.json"}


def verdict(name: str, *rows: Row) -> Verdict:
    (found,) = decide([CLAIMS[name]], rows)
    return found


def fire(clean: float, robust: float, **changes: Any) -> Row:
    row = measured(EVERY["FIRE"], clean, robust)
    by_hand = {f"defense.{name}": value for name, value in changes.items()}
    return planned(row, defense=changes, by_hand=by_hand) if changes else row


TRADES = measured(EVERY["TRADES"], 90.0, 50.0)


@pytest.mark.parametrize(("robust", "outcome"), [(60.0, "confirmed"), (40.0, "refuted"), (50.5, "cannot be told")])
def test_a_difference_on_the_claimed_side_on_the_other_and_on_neither(robust: float, outcome: str) -> None:
    for name in ("robust-kl", "average-kl"):
        found = verdict(name, fire(90.0, robust), TRADES)
        assert found.outcome == outcome
        assert found.interval is not None
        assert found.interval[0] == pytest.approx((robust - 50) / (1 + (name == "average-kl")))


def test_what_cannot_be_told_says_how_many_seeds_would_tell() -> None:
    found = verdict("robust-kl", fire(90.0, 50.9), TRADES)
    assert found.more_seeds is not None
    assert f"would be settled (4 times of 5) by {found.more_seeds} seeds of each" in sentence(found)
    same = verdict("robust-kl", fire(90.0, 50.0), TRADES)
    assert same.more_seeds is None
    assert "100 seeds of each would not settle it." in sentence(same)


TIGHT = (-0.1, 0.0, 0.1, 0.05, -0.05)


@pytest.mark.parametrize(
    ("clean", "outcome"), [(90.3, "confirmed"), (88.0, "refuted"), (92.0, "refuted"), (91.0, "cannot be told")]
)
def test_as_clean_as_is_within_a_point_either_way(clean: float, outcome: str) -> None:
    rows = [measured(row, mean, 50.0, TIGHT) for row, mean in ((EVERY["FIRE"], clean), (EVERY["TRADES"], 90.0))]
    assert verdict("strength", *rows).outcome == outcome


@pytest.mark.parametrize(("seconds", "outcome"), [(8.0, "confirmed"), (9.9, "refuted"), (9.02, "cannot be told")])
def test_a_fifth_faster_is_a_ratio_clear_of_half_of_that(seconds: float, outcome: str) -> None:
    rows = measured(EVERY["FIRE"], 90, 50, seconds=seconds), measured(EVERY["TRADES"], 90, 50)
    found = verdict("time-kl", *rows)
    assert found.outcome == outcome
    assert found.interval is not None
    value, low, high = found.interval
    assert low < value < high
    assert value == pytest.approx(seconds / 10)


def test_times_of_trainings_that_differ_in_more_are_not_compared() -> None:
    mine = measured(EVERY["FIRE"], 90, 50)
    sessions = {seed: [each[0] | {"commit": "another", "threads": 8}] for seed, each in mine.facts["sessions"].items()}
    found = verdict("time-kl", replace(mine, facts=mine.facts | {"sessions": sessions}), TRADES)
    assert found.outcome == "cannot be told"
    assert found.why == "FIRE and TRADES were not trained alike (threads, commit): their times do not compare"


def of_strengths(*clean: float) -> list[Row]:
    """FIRE at half-angle 3, 12 and geodesic 12, which is half-angle 48."""
    settings: list[dict[str, Any]] = [{"lam": 3.0}, {}, {"distance": "geodesic"}]
    return [fire(value, 140 - value, **changes) for value, changes in zip(clean, settings, strict=True)]


def test_a_trend_over_lam_is_a_slope_per_doubling() -> None:
    rows = of_strengths(94.0, 90.0, 86.0)
    assert sorted(map(strength, rows)) == [3, 12, 48]
    clean, robust = verdict("lam-clean", *rows), verdict("lam-robust", *rows)
    assert (clean.outcome, robust.outcome) == ("confirmed", "confirmed")
    assert clean.interval is not None
    assert clean.interval[0] == pytest.approx(-2)
    assert verdict("lam-clean", *of_strengths(86.0, 90.0, 94.0)).outcome == "refuted"
    assert verdict("lam-clean", *of_strengths(90.1, 89.9, 90.0)).outcome == "cannot be told"


def test_a_curve_that_turns_refutes_a_trend_whatever_its_slope() -> None:
    rows = [*of_strengths(94.0, 80.0, 82.0), fire(92.0, 50.0, lam=6.0)]
    found = verdict("lam-clean", *rows)
    assert found.interval is not None
    assert found.interval[2] < 0
    assert (found.outcome, found.turned is not None) == ("refuted", True)
    assert any(note.startswith("It turns: from FIRE to FIRE it is +2.00 ± ") for note in claims.notes(found))


def test_rows_of_one_strength_both_count() -> None:
    rows = [*of_strengths(94.0, 90.0, 86.0), fire(84.0, 50.0, lam=12.0)]
    made = estimate(CLAIMS["lam-clean"], rows)
    known = linregress([math.log2(strength(row)) for row in rows], [row.over_seeds("clean").mean for row in rows])
    assert made.found.value == pytest.approx(known.slope)
    assert len(made.rows) == 4


def test_a_trend_needs_three_values() -> None:
    found = verdict("lam-clean", *of_strengths(94.0, 90.0, 86.0)[:2])
    assert (found.outcome, found.why) == ("not on this board", "a trend needs 3 values, here is 2")
    twice = [*of_strengths(94.0, 90.0, 86.0)[1:], fire(86.0, 54.0, lam=48.0)]
    assert verdict("lam-clean", *twice).why == "a trend needs 3 values, here is 2"


def test_the_slope_is_least_squares_through_the_means_over_images_too() -> None:
    rows = [row for row in EVERY.values() if row.paper["method"] in ("FIRE", "Madry", "VAT")]
    order = {row.fingerprint: 2.0**place for place, row in enumerate(rows)}
    claim = CLAIMS["lam-robust"]._replace(order=lambda row: order[row.fingerprint])
    made = estimate(claim, rows)
    known = linregress(range(3), [row.over_seeds("robust").mean for row in rows])
    assert made.paired
    assert made.found.value == pytest.approx(known.slope)
    assert made.found.image_part > 0
    matrices = [scores(row, "robust") for row in rows]
    assert made.found.images == np.shape(matrices[0])[1]


def test_rows_are_found_by_plan_not_by_label() -> None:
    mine = replace(fire(90.0, 60.0), label="TRADES", facts=fire(90.0, 60.0).facts | {"label": "anything"})
    assert verdict("robust-kl", mine, TRADES).outcome == "confirmed"
    other = fire(90.0, 60.0, lam=6.0)
    assert verdict("robust-kl", other, TRADES).why == "no row of FIRE"
    strong = fire(90.0, 60.0, lam=20.0)
    assert verdict("average-kl-20", strong, TRADES).outcome == "confirmed"
    assert verdict("average-kl", strong, TRADES).why == "no row of FIRE lam=12 distance=half-angle"
    own_file = replace(mine, plan=mine.plan | {"code": "0123456789abcdef"})
    assert verdict("robust-kl", own_file, TRADES).outcome == "not on this board"


def test_missing_rows_are_named_and_several_are_no_row() -> None:
    assert verdict("data-rst", fire(90, 50)).why == "no row of FIRE+RST and RST-adv"
    again = planned(fire(90, 60), {"precision": "bf16"}, by_hand={"recipe.precision": "bf16"})
    found = verdict("robust-kl", fire(90, 60), again, TRADES)
    assert (found.outcome, found.why) == ("not on this board", "several rows are meant: FIRE and FIRE")
    narrow = replace(TRADES, plan=TRADES.plan | {"threat": TRADES.plan["threat"] | {"eps": "0.1"}})
    for elsewhere in (replace(TRADES, examples=100), narrow):
        assert verdict("robust-kl", fire(90, 60), elsewhere).why == "its rows are not of one setting"


def test_each_setting_has_its_own_verdict() -> None:
    rows = [fire(90, 60), TRADES, replace(fire(90, 40), examples=100), replace(TRADES, examples=100)]
    found = decide([CLAIMS["robust-kl"]], rows)
    assert [(each.outcome, "100 test images" in each.setting) for each in found] == [
        ("confirmed", False), ("refuted", True)]  # fmt: skip


def test_many_claims_at_once_are_held_to_more() -> None:
    row = fire(90.0, 51.4)
    alone = verdict("robust-kl", row, TRADES)
    assert alone.outcome == "confirmed"
    found = {each.claim.name: each for each in decide(FIRE_CLAIMS, [row, TRADES])}["robust-kl"]
    assert found.p == alone.p
    assert found.outcome == "cannot be told"
    assert "By itself it would be decided; among so many claims it is not." in sentence(found)


def test_one_seed_decides_nothing_and_says_so() -> None:
    rows = [EVERY[name] for name in ("FIRE", "Standard")]
    one = [replace(row, per_seed={0: row.per_seed[0]}, facts=row.facts | {"masks": {"0": row.facts["masks"]["0"]}})
           for row in rows]  # fmt: skip
    claim = CLAIMS["robust-kl"]._replace(rows=(CLAIMS["robust-kl"].rows[0], CLAIMS["best-madry"].rows[1]._replace(
        methods=("Standard",))))  # fmt: skip
    (found,) = decide([claim], one)
    assert found.outcome == "cannot be told"
    assert "single seed" in sentence(found)
    bare = [replace(row, facts=row.facts | {"masks": {}}) for row in one]
    (found,) = decide([claim], bare)
    assert found.why.startswith("FIRE has a single seed and no masks")
    assert (
        verdict("time-kl", *(replace(row, per_seed={0: row.per_seed[0]}) for row in (fire(90, 50), TRADES))).made
        is None
    )


def test_what_a_reader_must_know_is_noted() -> None:
    found = verdict("robust-kl", fire(90.0, 60.0), TRADES)
    assert claims.notes(found)[0] == "Without masks the interval is over seeds alone, not over images."
    doubtful = replace(TRADES, unfinished=(7,),
                       facts=TRADES.facts | {"verdicts": {"0": {"verdict": "unreliable", "reasons": []}}})  # fmt: skip
    marked = claims.notes(verdict("robust-kl", fire(90.0, 60.0), doubtful))
    assert {"AutoAttack's result for TRADES is unreliable.", "TRADES lacks seed 7."} <= set(marked)
    clean = claims.notes(verdict("clean-kl", fire(90.0, 60.0), doubtful))
    assert not any("unreliable" in note for note in clean)
    hidden = [measured(EVERY[name], 90, 50) for name in ("FIRE+RST", "RST-adv")]
    assert "Some labels were hidden, in place of further images." in claims.notes(verdict("data-rst", *hidden))


def test_claims_have_names_of_their_own_figures_and_a_bound() -> None:
    assert len(CLAIMS) == len(FIRE_CLAIMS)
    for each in FIRE_CLAIMS:
        assert each.published
        assert each.source
        assert any(map(math.isfinite, each.bounds))
        assert (each.order is None) == (each.test != "slope")
        assert len(each.rows) == 2 - (each.test == "slope")


def test_published_figures_are_those_of_the_defenses() -> None:
    """Averages, as the paper has them; other methods' stand in their own files."""
    for method, said in (("FIRE", "68.72"), ("TRADES", "68.15"), ("Hellinger", "68.24"), ("Self-Adaptive", "68.25"),
                         ("Overfitting", "68.68"), ("Madry", "65.82"), ("FIRE+SA", "68.48")):  # fmt: skip
        entries = [
            each
            for each in EVERY[method].paper["reported"]
            if each["dataset"] == "cifar10" and each["source"].startswith("FIRE") and not each["extra_data"]
        ]
        means = [(each["clean"] + each["robust"]) / 2 for each in entries]
        assert any(abs(mean - float(said)) < 0.011 for mean in means), method
        assert any(said in each.published for each in FIRE_CLAIMS)


@pytest.mark.parametrize("board", COMMITTED)
def test_committed_verdicts_are_what_the_code_says_of_the_committed_board(board: str, tmp_path: Path) -> None:
    kept = json.loads((ROOT / "results" / COMMITTED[board]).read_text(encoding="utf-8"))
    now = json.loads(ran(tmp_path, "claims", str(BOARDS / board), "--json").stdout)
    assert len(kept["verdicts"]) == len(now["verdicts"]) >= len(FIRE_CLAIMS)
    for one, other in zip(kept["verdicts"], now["verdicts"], strict=True):
        for name in ("value", "p", "p_holm", "interval"):
            before, after = one.pop(name), other.pop(name)
            assert before == (None if after is None else pytest.approx(after, rel=1e-6, abs=1e-12))
        assert one == other


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_command_prints_every_claim(tmp_path: Path, width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    shown = ran(tmp_path, "claims", str(DIGITS_BOARD)).stdout
    assert max(map(len, shown.splitlines())) <= int(width)
    assert ("Published" in shown) == (width == "120")
    found = decide(FIRE_CLAIMS, list(claims_rows()))
    for outcome in claims.OUTCOMES:
        assert f"{sum(each.outcome == outcome for each in found)} {outcome}" in " ".join(shown.split())
    assert "FIRE above Hellinger, average (no row of Hellinger);" in " ".join(shown.split())


def claims_rows() -> list[Row]:
    from robench_fire.comparison.compare import rows_at

    return rows_at([DIGITS_BOARD])


def test_a_board_that_was_published_decides_the_same(tmp_path: Path) -> None:
    publish([EVERY["FIRE"], EVERY["TRADES"]], tmp_path / "board")
    found = json.loads(ran(tmp_path, "claims", "board", "--json").stdout)["verdicts"]
    here = {each["claim"]: each["value"] for each in found if each["value"] is not None}
    assert set(here) == {"strength", "average-kl", "robust-kl", "clean-kl", "time-kl"}
