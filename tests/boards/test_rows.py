"""Rows from run folders: mean and spread over the seeds of one plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_runs import CLEAN, HASH, OFFICIAL, ROBUST, write_at, write_five, write_run

from robench_fire.boards import model_info, rows
from robench_fire.errors import DataError
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import extra_of
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import entries_in, of_row
from robench_fire.tables.table import tables


def test_a_row_is_mean_and_sample_std_over_seeds(tmp_path: Path) -> None:
    write_five(tmp_path)
    (row,) = rows.collect(tmp_path)
    assert row.over_seeds("clean") == pytest.approx((np.mean(CLEAN), np.std(CLEAN, ddof=1), 5))
    assert row.over_seeds("robust") == pytest.approx((np.mean(ROBUST), np.std(ROBUST, ddof=1), 5))
    halves = [(c + r) / 2 for c, r in zip(CLEAN, ROBUST, strict=True)]
    assert row.average == pytest.approx((np.mean(halves), np.std(halves, ddof=1), 5))
    assert row.footnotes() == []


def test_plans_are_never_mixed(tmp_path: Path) -> None:
    write_five(tmp_path)
    request = Request(defense="fire", dataset="digits", settings=(("--set", "defense.lam", "6"),))
    write_run(tmp_path, request, 0, 80.0, 60.0)
    first, second = rows.collect(tmp_path)
    assert [len(first.per_seed), len(second.per_seed)] == [1, 5]  # best robust accuracy first
    assert first.footnotes() == ["1 of 5 seeds.", "Not the matched recipe: defense.lam 6.0."]
    assert first.over_seeds("clean").std is None


def test_seeds_evaluated_differently_are_not_averaged(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)
    write_run(tmp_path, request, 1, 90.0, 50.0)
    write_run(tmp_path, request, 2, 90.0, 10.0, examples=20)
    (row,) = rows.collect(tmp_path)
    assert (row.examples, sorted(row.per_seed), row.unfinished) == (300, [0, 1], (2,))
    assert "Seed 2 not trained to the end, or not evaluated alike." in row.footnotes()


def test_without_autoattack_the_row_says_pgd(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    for path in run.folder.glob("eval.aa*"):
        path.unlink()
    (row,) = rows.collect(tmp_path)
    assert row.attack == "pgd20"
    (table,) = tables([of_row(row)])
    values = dict(zip(table.columns, table.cells[0], strict=True))
    assert (values["AutoAttack"], values["PGD-20"], values["Average"]) == ("–", "55.00", "–")


def test_another_radius_than_the_claim_is_not_the_row(tmp_path: Path) -> None:
    write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0, eps="0.1")
    assert rows.collect(tmp_path) == []


def test_unfinished_runs_give_no_row(tmp_path: Path) -> None:
    write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, None)
    assert rows.collect(tmp_path) == []
    with pytest.raises(DataError, match="no evaluated run"):
        entries_in([tmp_path])


def test_the_official_profile_is_marked(tmp_path: Path) -> None:
    write_five(tmp_path, dataset="mnist", profile="official")
    (row,) = rows.collect(tmp_path)
    (table,) = tables([of_row(row)])
    assert "Profile" in table.columns
    assert "official" in table.cells[0]


def test_a_row_does_not_need_the_weights(tmp_path: Path) -> None:
    write_five(tmp_path)
    (whole,) = rows.collect(tmp_path)
    for weights in tmp_path.rglob("weights.safetensors"):
        weights.unlink()
    assert rows.collect(tmp_path) == [whole]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"defense": "fire"}, ["85.98 / 51.45", "–"]),
        ({"defense": "fire", "arch": "resnet-18"}, ["85.98 / 51.45 (wrn-34-10)", "–"]),
        ({"defense": "trades"}, ["85.84 / 50.47", "84.92 / 53.08 at 0.031"]),
        ({"defense": "trades", "profile": "official"}, ["84.79 / 52.12", "84.92 / 53.08 at 0.031"]),
        ({"defense": "mart"}, ["–", "–"]),  # reported with extra data only
        ({"defense": "rst_adv", "arch": "wrn-28-10"}, ["–", "–"]),  # hidden labels are not extra data
        ({"defense": "trades", "eps": "4/255"}, ["–", "–"]),  # another radius
    ],
)
def test_paper_numbers_stand_beside_ours(tmp_path: Path, asked: dict[str, Any], expected: list[str]) -> None:
    write_five(tmp_path, dataset="cifar10", **asked)
    (table,) = tables(entries_in([tmp_path]), shown=Shown(paper=True))
    assert table.cells[0][-2:] == expected


@pytest.mark.parametrize(("asked", "reported"), [({}, "51.45"), ({"arch": "resnet-18"}, "51.00")])
def test_reported_is_the_papers_number_for_the_same_network(
    tmp_path: Path, asked: dict[str, Any], reported: str
) -> None:
    write_five(tmp_path, dataset="cifar10", **asked)
    (row,) = rows.collect(tmp_path)
    assert model_info.to_model_info(row)["reported"] == reported


def test_training_time_includes_the_pseudo_labeller(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="rst_adv", dataset="digits"), 0, 90.0, 50.0)
    run.write("train.json", {"seconds": 10.0, "weights_sha256": HASH, "labeller": {"seconds": 2.5}})
    (row,) = rows.collect(tmp_path)
    assert row.over_seeds("train_seconds").mean == 12.5


def test_what_a_seed_cost_is_collected_where_it_is_known(tmp_path: Path) -> None:
    request = Request(defense="rst_adv", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)  # as runs were before
    spent = {"energy_joules": None, "images_per_second": 5.0, "mfu": 0.5, "peak_memory_bytes": 7}
    for seed, labeller in ((1, {"seconds": 2.5, "flops": 30}), (2, {"seconds": 2.5})):
        run = write_run(tmp_path, request, seed, 90.0, 50.0)
        facts = {"seconds": 10.0, "weights_sha256": HASH, "flops": 100, "sections": {}, "labeller": labeller}
        run.write("train.json", facts | spent)
    (row,) = rows.collect(tmp_path)
    assert row.facts["cost"] == {"1": spent | {"flops": 130}, "2": spent | {"flops": 100}}  # its labeller's, as in time


def test_evaluations_of_other_weights_do_not_count(tmp_path: Path) -> None:
    write_five(tmp_path)
    changed = rows.find(tmp_path)[2]
    changed.write("train.json", {"seconds": 1.0, "weights_sha256": "0" * 64})
    (row,) = rows.collect(tmp_path)
    assert (sorted(row.per_seed), row.unfinished) == ([0, 1, 3, 4], (2,))


def test_seeds_trained_by_different_code_are_marked(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)
    write_run(tmp_path, request, 1, 90.0, 50.0, session={"commit": "def", "device": "another"})
    (row,) = rows.collect(tmp_path)
    assert "Its seeds were trained with different devices and commits." in row.footnotes()
    write_run(tmp_path / "installed", request, 0, 90.0, 50.0, session={"commit": "", "code": "one"})
    write_run(tmp_path / "installed", request, 1, 90.0, 50.0, session={"commit": "", "code": "other"})
    (row,) = rows.collect(tmp_path / "installed")
    assert "Its seeds were trained with different code." in row.footnotes()


def test_the_worst_verdict_of_a_seed_is_the_rows(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    bad = {"verdict": "unreliable", "reasons": ["AutoAttack's own checks: no, zero gradients"]}
    write_run(tmp_path, request, 0, 90.0, 50.0)
    assert (found := only(tmp_path)).verdict == "reliable"
    assert model_info.to_model_info(found)["unreliable"] is False
    write_run(tmp_path, request, 1, 90.0, 50.0, reliability={"verdict": "unknown", "reasons": []})
    found = only(tmp_path)
    assert found.verdict == "unknown"
    assert "Whether AutoAttack's result can be believed is not known (see docs/evaluation.md#reliability)." in (
        found.footnotes()
    )
    assert "unreliable" not in model_info.to_model_info(found)
    write_run(tmp_path, request, 2, 90.0, 50.0, reliability=bad)
    found = only(tmp_path)
    assert found.verdict == "unreliable"
    (said,) = [note for note in found.footnotes() if note.startswith("Unreliable, seed 2: ")]
    assert "a gradient of exactly 0" in said
    assert said.endswith("(see docs/evaluation.md#reliability).")
    assert model_info.to_model_info(found)["unreliable"] is True


def test_only_autoattack_standard_or_pgd20_makes_a_row(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)
    write_run(tmp_path, request, 0, 90.0, 80.0, attack="square", examples=1000)
    assert only(tmp_path).over_seeds("robust").mean == 50.0


def only(folder: Path) -> rows.Row:
    (row,) = rows.collect(folder)
    return row


THERE = "Trained at eps 0.031, where AutoAttack leaves 54.00 ± 2.83."


def test_what_autoattack_leaves_at_the_radius_of_the_training_is_said_once_every_seed_has_it(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, OFFICIAL, seed, 85.0, 50.0 + seed)
    assert "Trained at eps 0.031." in only(tmp_path).footnotes()
    write_at(tmp_path, "0.031", [52.0, None])
    assert "Trained at eps 0.031." in only(tmp_path).footnotes()
    write_at(tmp_path, "0.031", [52.0, 56.0])
    row = only(tmp_path)
    assert row.facts["at_training_radius"] == {"0": 52.0, "1": 56.0}
    assert THERE in row.footnotes()
    assert (row.eps, row.over_seeds("robust").mean) == ("8/255", 50.5)


def test_another_radius_can_be_claimed(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, OFFICIAL, seed, 85.0, 50.0 + seed)
    assert rows.collect(tmp_path, "0.031") == []
    write_at(tmp_path, "0.031", [52.0, 56.0])
    (row,) = rows.collect(tmp_path, "0.031")
    assert (row.eps, row.over_seeds("robust").mean) == ("0.031", 54.0)
    assert row.facts["at_training_radius"] == {}
    assert [each.over_seeds("robust").mean for each in rows.collect(tmp_path, "0.0310")] == [54.0]
    assert rows.SMALLER_EPS in row.footnotes()
    assert not any("Trained at" in note for note in row.footnotes())
    assert rows.SMALLER_EPS not in only(tmp_path).footnotes()


def test_a_training_at_the_claimed_radius_has_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, Request(defense="fire", dataset="cifar10"), 0, 85.0, 50.0)
    row = only(tmp_path)
    assert row.facts["at_training_radius"] == {}
    assert not any("Trained at" in note for note in row.footnotes())


def test_a_row_says_who_evaluated_it(tmp_path: Path) -> None:
    write_five(tmp_path)
    evaluator = only(tmp_path).facts["evaluator"]
    assert (evaluator["attack_version"], evaluator["machines"]) == ("1 on pyautoattack 0.2.0", ["torch x on cpu"])
    assert evaluator["robust_intervals"] == {str(seed): [value - 5, value + 5] for seed, value in enumerate(ROBUST)}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"extra": None}, ""),
        ({"extra": {"source": "file"}, "start": {"of": "3f" * 32}}, "file"),
        ({"extra": {"source": "hidden"}}, "hidden"),
        ({"extra": None, "start": {"of": "3f" * 32}}, "given"),
        ({"extra": None, "start": {"of": "mnist/Linf/madry/0123456789ab"}}, "given"),
        ({"extra": None, "start": {"of": "digits/Linf/madry/0123456789ab"}}, ""),
        ({"extra": None, "start": {"of": "digits/Linf/madry/0123456789ab", "seen": "other data"}}, "given"),
        ({"extra": None, "start": {"of": "3f" * 32, "seen": "digits"}}, ""),
        ({"extra": None, "start": {"of": "3f" * 32, "seen": "mnist"}}, "given"),
    ],
)
def test_what_a_plan_trains_with_beyond_its_data_set(recipe: dict[str, Any], expected: str) -> None:
    assert extra_of({"dataset": "digits", "recipe": recipe}) == expected


def also(root: Path, attack: str, values: list[float]) -> None:
    for run, value in zip(rows.find(root), values, strict=True):
        (path,) = run.folder.glob("eval.pgd20-*.json")
        run.write(path.name.replace("pgd20", attack), run.read(path.name) | {"attack": attack, "robust": value})


def test_attacks_by_themselves_are_columns(tmp_path: Path) -> None:
    write_five(tmp_path)
    also(tmp_path, "fgsm", [60.0, 61.0, 62.0, 63.0, 64.0])
    (made,) = tables(entries_in([tmp_path]), shown=Shown(attacks=True))
    assert made.columns == ["#", "Method", "Clean", "FGSM", "PGD-20", "AutoAttack"]
    assert made.cells[0][3] == "62.00 ± 1.58"
    assert "Each attack is run by itself." in made.remarks[-1]


def test_an_attack_that_not_all_seeds_have_is_no_column(tmp_path: Path) -> None:
    write_five(tmp_path)
    also(tmp_path, "square", [60.0] * 5)
    next(tmp_path.rglob("seed-3/eval.square-*.json")).unlink()
    (made,) = tables(entries_in([tmp_path]), shown=Shown(attacks=True))
    assert "Square" not in made.columns


@pytest.mark.parametrize(("weights", "expected"), [(HASH, "71.00 ± 1.58"), ("0" * 64, None)])
def test_transfer_counts_for_the_weights_that_it_names(tmp_path: Path, weights: str, expected: str | None) -> None:
    write_five(tmp_path)
    seeds = [str(seed) for seed in range(5)]
    (row,) = rows.collect(tmp_path)
    facts = {
        "weights_sha256": {"FIRE": dict.fromkeys(seeds, weights), "Standard": dict.fromkeys(seeds, "1" * 64)},
        "transfer": {"Standard": {"FIRE": {"values": [69.0, 70.0, 71.0, 72.0, 73.0]}}},
    }
    (tmp_path / f"transfer-Linf-0.2-{row.examples}.json").write_text(json.dumps(facts))
    (made,) = tables(entries_in([tmp_path]), shown=Shown(attacks=True))
    found = dict(zip(made.columns, made.cells[0], strict=True)).get("Transfer")
    assert found == expected


def test_transfer_without_the_standard_model_is_no_column(tmp_path: Path) -> None:
    write_five(tmp_path)
    (row,) = rows.collect(tmp_path)
    facts = {"weights_sha256": {"FIRE": {str(seed): HASH for seed in range(5)}}, "transfer": {"FIRE": {"FIRE": None}}}
    (tmp_path / f"transfer-Linf-0.2-{row.examples}.json").write_text(json.dumps(facts))
    (made,) = tables(entries_in([tmp_path]), shown=Shown(attacks=True))
    assert "Transfer" not in made.columns
