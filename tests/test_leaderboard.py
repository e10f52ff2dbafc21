"""Rows from run folders, RobustBench's JSON, and every rendering."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from robench_fire import leaderboard, model_info, tables
from robench_fire.compose import Request, by_hand, compose
from robench_fire.errors import DataError
from robench_fire.plan import fingerprint, to_plain
from robench_fire.runs import Run, evaluation_name

CLEAN = [90.0, 91.0, 92.0, 93.0, 94.0]
ROBUST = [50.0, 52.0, 51.0, 53.0, 49.0]


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
    about = {"architecture": "DigitsCNN", "usual_eps": str(next(iter(composed.dataset.recipes)).eps)}
    run.write("provenance.json", about | {"by_hand": by_hand(request), "paper": paper, "sessions": [session]})
    run.weights.write_bytes(b"weights")
    run.write("train.json", {"seconds": 10.0 + seed, "weights_sha256": "0"})
    for attack, value in (("aa", robust), ("pgd20", None if robust is None else robust + 5)):
        if value is not None:
            facts = {
                "attack": attack,
                "norm": "Linf",
                "eps": str(plan.claim.eps),
                "examples": 300,
                "seed": 0,
                "batch_size": 500,
                "flags": [],
                "reliability": {"verdict": "reliable", "reasons": []},
            }
            facts |= changes
            name = evaluation_name(
                attack, facts["norm"], facts["eps"], facts["examples"], facts["seed"], facts["batch_size"]
            )
            more = {"name": name, "clean": clean, "robust": value, "weights_sha256": "0"}
            run.write(f"eval.{name}.json", facts | more)
    return run


def write_five(root: Path, **asked: Any) -> None:
    for seed, (clean, robust) in enumerate(zip(CLEAN, ROBUST, strict=True)):
        write_run(root, Request(**{"defense": "fire", "dataset": "digits", **asked}), seed, clean, robust)


def test_a_row_is_mean_and_sample_std_over_seeds(tmp_path: Path) -> None:
    write_five(tmp_path)
    (row,) = leaderboard.collect(tmp_path)
    assert row.over_seeds("clean") == pytest.approx((np.mean(CLEAN), np.std(CLEAN, ddof=1), 5))
    assert row.over_seeds("robust") == pytest.approx((np.mean(ROBUST), np.std(ROBUST, ddof=1), 5))
    halves = [(c + r) / 2 for c, r in zip(CLEAN, ROBUST, strict=True)]
    assert row.average == pytest.approx((np.mean(halves), np.std(halves, ddof=1), 5))
    assert row.footnotes() == []


def test_plans_are_never_mixed(tmp_path: Path) -> None:
    write_five(tmp_path)
    request = Request(defense="fire", dataset="digits", settings=(("--set", "defense.lam", "6"),))
    write_run(tmp_path, request, 0, 80.0, 60.0)
    first, second = leaderboard.collect(tmp_path)
    assert [len(first.per_seed), len(second.per_seed)] == [1, 5]  # best robust accuracy first
    assert first.footnotes() == ["1 of 5 seeds.", "Not the matched recipe: defense.lam 6.0."]
    assert first.over_seeds("clean").std is None


def test_seeds_evaluated_differently_are_not_averaged(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)
    write_run(tmp_path, request, 1, 90.0, 50.0)
    write_run(tmp_path, request, 2, 90.0, 10.0, examples=20)
    (row,) = leaderboard.collect(tmp_path)
    assert (row.examples, sorted(row.per_seed), row.unfinished) == (300, [0, 1], (2,))
    assert "Seed 2 not finished." in row.footnotes()


def test_without_autoattack_the_row_says_pgd(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    for path in run.folder.glob("eval.aa*"):
        path.unlink()
    (row,) = leaderboard.collect(tmp_path)
    assert row.attack == "pgd20"
    (table,) = tables.tables([row])
    values = dict(zip(table.columns, table.cells[0], strict=True))
    assert (values["AutoAttack"], values["PGD-20"], values["Average"]) == ("–", "55.00", "–")


def test_another_radius_than_the_claim_is_not_the_row(tmp_path: Path) -> None:
    write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0, eps="0.1")
    assert leaderboard.collect(tmp_path) == []


def test_unfinished_runs_give_no_row(tmp_path: Path) -> None:
    write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, None)
    assert leaderboard.collect(tmp_path) == []
    with pytest.raises(DataError, match="no evaluated run"):
        model_info.rows_in(tmp_path)


def test_the_official_profile_is_marked(tmp_path: Path) -> None:
    write_five(tmp_path, dataset="mnist", profile="official")
    (row,) = leaderboard.collect(tmp_path)
    (table,) = tables.tables([row])
    assert "Profile" in table.columns
    assert "official" in table.cells[0]


def test_robustbench_json_has_its_keys_and_types(tmp_path: Path) -> None:
    write_five(tmp_path)
    info = model_info.to_model_info(*leaderboard.collect(tmp_path))
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
    rows = leaderboard.collect(tmp_path / "runs")
    paths = tables.publish(rows, tmp_path / "board")
    assert {path.relative_to(tmp_path / "board").as_posix() for path in paths} == {
        "digits/Linf/Picot2021Adversarial.json",
        "digits/Linf/Carmon2019Unlabeled.json",
        "digits/Linf.md",
    }
    page = (tmp_path / "board" / "digits" / "Linf.md").read_text()
    assert page == tables.render(rows, "md") + "\n"
    again = model_info.rows_in(tmp_path / "board")
    assert [model_info.to_model_info(row) for row in again] == [model_info.to_model_info(row) for row in rows]
    assert tables.render(again, "md") == tables.render(rows, "md")


def test_two_plans_cannot_claim_one_board_file(tmp_path: Path) -> None:
    write_five(tmp_path)
    write_five(tmp_path, settings=(("--set", "defense.lam", "6"),))
    with pytest.raises(DataError, match="two plans of FIRE"):
        model_info.publish(leaderboard.collect(tmp_path), tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_an_edited_board_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "digits" / "Linf" / "Key.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"architecture": "x"}')
    with pytest.raises(DataError, match=r"Key\.json is not a leaderboard row"):
        model_info.rows_in(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match=r"Key\.json is not JSON"):
        model_info.rows_in(tmp_path)


def rows(tmp_path: Path) -> list[leaderboard.Row]:
    write_five(tmp_path)
    write_five(tmp_path, defense="self_adaptive")
    write_five(tmp_path, defense="rst_adv")
    return leaderboard.collect(tmp_path)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("paper", [False, True])
def test_terminal_table_fits_and_cuts_no_number(tmp_path: Path, width: int, paper: bool) -> None:
    out = io.StringIO()
    tables.show(rows(tmp_path), "terminal", paper, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in out.getvalue()
    for text in ("92.00", "51.00", "71.50", "± 1.58", "Self-Adaptive", "RST-adv [1]"):
        assert text in out.getvalue()
    assert any(line.startswith("[1] No extra data") for line in lines)


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
    (table,) = tables.tables(leaderboard.collect(tmp_path), paper=True)
    assert table.cells[0][-2:] == expected


@pytest.mark.parametrize(("asked", "reported"), [({}, "51.45"), ({"arch": "resnet-18"}, "51.00")])
def test_reported_is_the_papers_number_for_the_same_network(
    tmp_path: Path, asked: dict[str, Any], reported: str
) -> None:
    write_five(tmp_path, dataset="cifar10", **asked)
    (row,) = leaderboard.collect(tmp_path)
    assert model_info.to_model_info(row)["reported"] == reported


def test_training_time_includes_the_pseudo_labeller(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="rst_adv", dataset="digits"), 0, 90.0, 50.0)
    run.write("train.json", {"seconds": 10.0, "weights_sha256": "0", "labeller": {"seconds": 2.5}})
    (row,) = leaderboard.collect(tmp_path)
    assert row.over_seeds("train_seconds").mean == 12.5


def test_markdown_csv_json_latex(tmp_path: Path) -> None:
    given = rows(tmp_path)
    text = tables.render(given, "md")
    assert text.count("\n| ") == 5  # header, rule, three rows
    assert "| FIRE | DigitsCNN | 92.00 ± 1.58 | 51.00 ± 1.58 | 71.50 ± 1.06 | 5 |" in text
    frame = pd.read_csv(io.StringIO(tables.render(given, "csv")))
    assert frame["autoattack_mean"].tolist() == [51.0] * 3
    assert frame["clean_std"].tolist() == pytest.approx([1.5811] * 3)
    assert len(json.loads(tables.render(given, "json"))["rows"]) == 3
    latex = tables.render(given, "latex")
    assert r"\toprule" in latex
    assert r"$\pm$" in latex
    assert "±" not in latex


def test_without_autoattack_nothing_is_claimed_or_published(tmp_path: Path) -> None:
    run = write_run(tmp_path, Request(defense="fire", dataset="digits"), 0, 90.0, 50.0)
    for path in run.folder.glob("eval.aa*"):
        path.unlink()
    rows = leaderboard.collect(tmp_path)
    assert "autoattack_acc" not in model_info.to_model_info(rows[0])
    with pytest.raises(DataError, match="no AutoAttack result"):
        model_info.publish(rows, tmp_path / "board")


def test_publishing_another_plan_over_a_row_is_refused(tmp_path: Path) -> None:
    write_five(tmp_path / "a")
    write_five(tmp_path / "b", settings=(("--set", "defense.lam", "6"),))
    (path,) = model_info.publish(leaderboard.collect(tmp_path / "a"), tmp_path / "board")
    before = path.read_bytes()
    model_info.publish(leaderboard.collect(tmp_path / "a"), tmp_path / "board")
    with pytest.raises(DataError, match="two plans of FIRE"):
        model_info.publish(leaderboard.collect(tmp_path / "b"), tmp_path / "board")
    assert path.read_bytes() == before


def test_evaluations_of_other_weights_do_not_count(tmp_path: Path) -> None:
    write_five(tmp_path)
    changed = leaderboard.find(tmp_path)[2]
    changed.write("train.json", {"seconds": 1.0, "weights_sha256": "other"})
    (row,) = leaderboard.collect(tmp_path)
    assert (sorted(row.per_seed), row.unfinished) == ([0, 1, 3, 4], (2,))


def test_seeds_trained_by_different_code_are_marked(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)
    write_run(tmp_path, request, 1, 90.0, 50.0, session={"commit": "def", "device": "another"})
    (row,) = leaderboard.collect(tmp_path)
    assert "Its seeds were trained with different device and commit." in row.footnotes()


def test_the_worst_verdict_of_a_seed_is_the_rows(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    bad = {"verdict": "unreliable", "reasons": ["AutoAttack's own checks: no, zero gradients"]}
    write_run(tmp_path, request, 0, 90.0, 50.0)
    assert (found := only(tmp_path)).verdict == "reliable"
    assert model_info.to_model_info(found)["unreliable"] is False
    write_run(tmp_path, request, 1, 90.0, 50.0, reliability={"verdict": "unknown", "reasons": []})
    assert (found := only(tmp_path)).verdict == "unknown"
    assert "Its reliability is not known." in found.footnotes()
    assert "unreliable" not in model_info.to_model_info(found)
    write_run(tmp_path, request, 2, 90.0, 50.0, reliability=bad)
    assert (found := only(tmp_path)).verdict == "unreliable"
    assert "Unreliable (seed 2): AutoAttack's own checks: no, zero gradients." in found.footnotes()
    assert model_info.to_model_info(found)["unreliable"] is True


def test_only_autoattack_standard_or_pgd20_makes_a_row(tmp_path: Path) -> None:
    request = Request(defense="fire", dataset="digits")
    write_run(tmp_path, request, 0, 90.0, 50.0)
    write_run(tmp_path, request, 0, 90.0, 80.0, attack="square", examples=1000)
    assert only(tmp_path).over_seeds("robust").mean == 50.0


def only(folder: Path) -> leaderboard.Row:
    (row,) = leaderboard.collect(folder)
    return row
