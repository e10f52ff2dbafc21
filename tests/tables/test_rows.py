"""Rows from run folders, RobustBench's JSON, and boards made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robench_fire.errors import DataError
from robench_fire.models.names import display_name
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import to_plain
from robench_fire.runs.compose import Request, by_hand, compose
from robench_fire.runs.folders import Run, evaluation_name
from robench_fire.tables import model_info, render, rows
from robench_fire.tables.entries import entries_in, of_row
from robench_fire.tables.table import tables

CLEAN = [90.0, 91.0, 92.0, 93.0, 94.0]
ROBUST = [50.0, 52.0, 51.0, 53.0, 49.0]
HASH = "0123456789abcdef" * 4


def write_run(
    root: Path,
    request: Request,
    seed: int,
    clean: float,
    robust: float | None,
    session: dict[str, Any] | None = None,
    **changes: Any,
) -> Run:
    """A finished run as `robench train` leaves it; ``robust`` None: trained, not evaluated."""
    composed = compose(request)
    plan = composed.plan
    run = Run(root / plan.dataset / plan.threat.norm / plan.name / fingerprint(plan) / f"seed-{seed}")
    run.write("plan.json", to_plain(plan))
    paper = composed.paper._asdict() | {"reported": [each._asdict() for each in composed.paper.reported]}
    session = {"versions": {"torch": "x"}, "device": "cpu", "commit": "abc"} | (session or {})
    about = {"architecture": display_name(plan.recipe.arch), "usual_eps": str(next(iter(composed.dataset.recipes)).eps)}
    run.write("provenance.json", about | {"by_hand": by_hand(request), "paper": paper, "sessions": [session]})
    run.weights.write_bytes(b"weights")
    run.write("train.json", {"seconds": 10.0 + seed, "weights_sha256": HASH})
    for attack, value in (("aa", robust), ("pgd20", None if robust is None else robust + 5)):
        if value is not None:
            facts = {
                "attack": attack,
                "norm": "Linf",
                "eps": str(plan.claim.eps),
                "examples": 300,
                "seed": 0,
                "batch_size": 500,
                "version": "1 on pyautoattack 0.2.0",
                "machines": ["torch x on cpu"],
                "robust_interval": [value - 5, value + 5],
                "flags": [],
                "reliability": {"verdict": "reliable", "reasons": []},
            }
            facts |= changes
            name = evaluation_name(
                attack, facts["norm"], facts["eps"], facts["examples"], facts["seed"], facts["batch_size"]
            )
            more = {"name": name, "clean": clean, "robust": value, "weights_sha256": HASH}
            run.write(f"eval.{name}.json", facts | more)
    return run


def write_five(root: Path, **asked: Any) -> None:
    for seed, (clean, robust) in enumerate(zip(CLEAN, ROBUST, strict=True)):
        write_run(root, Request(**{"defense": "fire", "dataset": "digits", **asked}), seed, clean, robust)


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
    assert "Seed 2 not finished." in row.footnotes()


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


def test_robustbench_json_has_its_keys_and_types(tmp_path: Path) -> None:
    write_five(tmp_path)
    info = model_info.to_model_info(*rows.collect(tmp_path))
    strings = ("link", "name", "authors", "dataset", "venue", "architecture", "eps", "clean_acc", "reported",
               "autoattack_acc", "footnote")  # fmt: skip
    assert all(isinstance(info[key], str) for key in strings)
    assert (info["clean_acc"], info["autoattack_acc"], info["eps"]) == ("92.00", "51.00", "0.2")
    assert info["additional_data"] is False
    assert info["number_forward_passes"] == 1
    assert set(info) == {*strings, "additional_data", "number_forward_passes", "unreliable", "robench_fire"}
    assert None not in info.values()


def test_board_round_trip(tmp_path: Path) -> None:
    write_five(tmp_path / "runs")
    write_five(tmp_path / "runs", defense="rst_adv")
    found = rows.collect(tmp_path / "runs")
    paths = render.publish(found, tmp_path / "board")
    assert {path.relative_to(tmp_path / "board").as_posix() for path in paths} == {
        "digits/Linf/Picot2021Adversarial.json",
        "digits/Linf/Carmon2019Unlabeled_hidden.json",
        "digits/Linf.md",
        "digits/Linf.html",
    }
    for style in ("md", "html"):
        page = (tmp_path / "board" / "digits" / f"Linf.{style}").read_text(encoding="utf-8")
        assert page == render.render(entries_in([tmp_path / "runs"]), style) + "\n"
    again = model_info.find_rows(tmp_path / "board")
    assert [model_info.to_model_info(row) for row in again] == [model_info.to_model_info(row) for row in found]
    assert [of_row(row) for row in again] == [of_row(row) for row in found]


def test_a_method_with_and_without_hidden_labels_has_two_files(tmp_path: Path) -> None:
    write_five(tmp_path / "runs")
    write_five(tmp_path / "runs", hide_labels=True)
    paths = model_info.publish(rows.collect(tmp_path / "runs"), tmp_path / "board")
    assert {path.name for path in paths} == {"Picot2021Adversarial.json", "Picot2021Adversarial_hidden.json"}
    assert [row.extra for row in model_info.find_rows(tmp_path / "board")] in (["", "hidden"], ["hidden", ""])


def test_a_row_does_not_need_the_weights(tmp_path: Path) -> None:
    write_five(tmp_path)
    (whole,) = rows.collect(tmp_path)
    for weights in tmp_path.rglob("weights.safetensors"):
        weights.unlink()
    assert rows.collect(tmp_path) == [whole]


def test_two_plans_cannot_claim_one_board_file(tmp_path: Path) -> None:
    write_five(tmp_path)
    write_five(tmp_path, settings=(("--set", "defense.lam", "6"),))
    with pytest.raises(DataError, match="two plans of FIRE"):
        model_info.publish(rows.collect(tmp_path), tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_an_edited_board_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "digits" / "Linf" / "Key.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"architecture": "x"}')
    with pytest.raises(DataError, match=r"Key\.json is not a leaderboard row"):
        entries_in([tmp_path])
    path.write_text("{")
    with pytest.raises(DataError, match=r"Key\.json is not JSON"):
        entries_in([tmp_path])


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
    (table,) = tables(entries_in([tmp_path]), paper=True)
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


def test_without_autoattack_nothing_is_claimed_or_published(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    for path in run.folder.glob("eval.aa*"):
        path.unlink()
    found = rows.collect(tmp_path)
    assert "autoattack_acc" not in model_info.to_model_info(found[0])
    with pytest.raises(DataError, match="no AutoAttack result"):
        model_info.publish(found, tmp_path / "board")


def test_publishing_another_plan_over_a_row_is_refused(tmp_path: Path) -> None:
    write_five(tmp_path / "a")
    write_five(tmp_path / "b", settings=(("--set", "defense.lam", "6"),))
    (path,) = model_info.publish(rows.collect(tmp_path / "a"), tmp_path / "board")
    before = path.read_bytes()
    model_info.publish(rows.collect(tmp_path / "a"), tmp_path / "board")
    with pytest.raises(DataError, match="two plans of FIRE"):
        model_info.publish(rows.collect(tmp_path / "b"), tmp_path / "board")
    assert path.read_bytes() == before


def test_evaluations_of_other_weights_do_not_count(tmp_path: Path) -> None:
    write_five(tmp_path)
    changed = rows.find(tmp_path)[2]
    changed.write("train.json", {"seconds": 1.0, "weights_sha256": "other"})
    (row,) = rows.collect(tmp_path)
    assert (sorted(row.per_seed), row.unfinished) == ([0, 1, 3, 4], (2,))


def test_seeds_trained_by_different_code_are_marked(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)
    write_run(tmp_path, request, 1, 90.0, 50.0, session={"commit": "def", "device": "another"})
    (row,) = rows.collect(tmp_path)
    assert "Its seeds were trained with different devices and commits." in row.footnotes()


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


OFFICIAL = Request(defense="fire", dataset="cifar10", profile="official")  # trained at 0.031, claimed at 8/255
THERE = "Trained at eps 0.031, where AutoAttack leaves 54.00 ± 2.83."


def write_at(root: Path, eps: str, values: list[float | None]) -> None:
    """AutoAttack at another radius beside what the seeds have: one value a seed, None where it was not run."""
    for run, value in zip(rows.find(root), values, strict=True):
        (path,) = run.folder.glob("eval.aa-Linf-8_255-*.json")
        if value is not None:
            facts = run.read(path.name) | {"eps": eps, "robust": value}
            run.write(path.name.replace("8_255", eps), facts)


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


def test_two_radii_of_a_plan_cannot_claim_one_board_file(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", OFFICIAL, 0, 85.0, 50.0)
    write_at(tmp_path / "runs", "0.031", [52.0])
    (path,) = model_info.publish(rows.collect(tmp_path / "runs"), tmp_path / "board")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"two plans of FIRE \(\w+ at 8/255 and \w+ at 0.031\) claim"):
        model_info.publish(rows.collect(tmp_path / "runs", "0.031"), tmp_path / "board")
    assert path.read_bytes() == before
    found = [len(model_info.find_rows(tmp_path / "board", eps)) for eps in ("", "8/255", "0.031")]
    assert found == [1, 1, 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("autoattack_acc", "61.00"), ("clean_acc", "99.99"), ("unreliable", True), ("unreliable", None),
     ("additional_data", True), ("autoattack_acc", 51.0), ("reported", "99.00"), ("eps", "0.1"),
     ("architecture", "ResNet-18"), ("link", "https://example.org"), ("venue", "ICML 2022"), ("external", "49.00")],
)  # fmt: skip
def test_a_board_file_changed_by_hand_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    write_five(tmp_path / "runs")
    (path,) = model_info.publish(rows.collect(tmp_path / "runs"), tmp_path / "board")
    info = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(info | {name: value}), encoding="utf-8")
    with pytest.raises(DataError, match=rf"Adversarial\.json was changed by hand: its {name} is {value}, its seeds"):
        model_info.from_model_info(path)


def test_a_footnote_may_be_worded_as_it_once_was(tmp_path: Path) -> None:
    write_five(tmp_path / "runs")
    found = rows.collect(tmp_path / "runs")
    (path,) = model_info.publish(found, tmp_path / "board")
    info = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(info | {"footnote": "Mean of five."}), encoding="utf-8")
    assert model_info.from_model_info(path) == found[0]


@pytest.mark.parametrize("eps", ["8/255", "0.031", "0.02"])
def test_a_row_published_at_another_radius_can_be_read_again(tmp_path: Path, eps: str) -> None:
    for seed in range(2):
        write_run(tmp_path / "runs", OFFICIAL, seed, 85.0, 50.0 + seed)
    for other in ("0.031", "0.02"):
        write_at(tmp_path / "runs", other, [52.0, 56.0])
    (row,) = rows.collect(tmp_path / "runs", eps)
    (path,) = model_info.publish([row], tmp_path / "board")
    assert model_info.from_model_info(path) == row
    smaller = r"Uses \(\ell_{\infty} \) = 0.031 ≈ 7.9/255 instead of 8/255."  # as in RobustBench's own files
    assert (smaller in path.read_text(encoding="utf-8").replace("\\\\", "\\")) == (eps == "0.031")


def test_what_robustbench_would_not_read_is_not_published(tmp_path: Path) -> None:
    write_five(tmp_path / "runs")
    write_five(tmp_path / "runs", defense="trades")
    found = rows.collect(tmp_path / "runs")
    found[1].paper["link"] = "arxiv.org"
    with pytest.raises(DataError, match=r"\.json would not be a RobustBench file: link: 'arxiv.org' does not match"):
        model_info.publish(found, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_a_row_says_who_evaluated_it(tmp_path: Path) -> None:
    write_five(tmp_path)
    evaluator = only(tmp_path).facts["evaluator"]
    assert (evaluator["attack_version"], evaluator["machines"]) == ("1 on pyautoattack 0.2.0", ["torch x on cpu"])
    assert evaluator["robust_intervals"] == {str(seed): [value - 5, value + 5] for seed, value in enumerate(ROBUST)}
