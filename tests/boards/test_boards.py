"""RobustBench's JSON, and boards made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from written_runs import CLEAN, OFFICIAL, ROBUST, write_at, write_five, write_run

from robench_fire.boards import model_info, rows
from robench_fire.errors import DataError
from robench_fire.runs.compose import Request
from robench_fire.tables import render
from robench_fire.tables.entries import entries_in, of_row


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
    assert {each.key for each in entries_in([tmp_path / "board"])} == {path.stem for path in paths}
    assert [row.extra for row in model_info.find_rows(tmp_path / "board")] in (["", "hidden"], ["hidden", ""])


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
    del info["robench_fire"]["seal"]  # as in files of before there were seals
    path.write_text(json.dumps(info | {"footnote": "Mean of five."}), encoding="utf-8")
    assert model_info.from_model_info(path) == found[0]


def test_a_sealed_row_is_as_it_was_written(tmp_path: Path) -> None:
    write_five(tmp_path / "runs")
    (path,) = model_info.publish(rows.collect(tmp_path / "runs"), tmp_path / "board")
    info = json.loads(path.read_text(encoding="utf-8"))
    info["robench_fire"]["seeds"]["0"]["train_seconds"] += 1
    path.write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(DataError, match="was changed by hand: its seal is "):
        model_info.from_model_info(path)


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


def test_a_row_with_fewer_seeds_does_not_replace_one_with_more(tmp_path: Path) -> None:
    write_five(tmp_path / "five")
    few = Request(defense="fire", dataset="digits")
    for seed in range(2):
        write_run(tmp_path / "two", few, seed, CLEAN[seed], ROBUST[seed])
    five, two = (rows.collect(tmp_path / name) for name in ("five", "two"))
    (path,) = model_info.publish(five, tmp_path / "board")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"holds 5 seeds, 300 test images, and this row 2 seeds, 300 test images; add"):
        model_info.publish(two, tmp_path / "board")
    assert path.read_bytes() == before
    for both in ([*five, *two], [*two, *five]):
        (path,) = model_info.publish(both, tmp_path / f"of both {both[0] is five[0]}")
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("robust", "said"),
    [
        (60.0, "seed 0's robust accuracy of 60.0 % is outside its own interval, 45.00 to 55.00"),
        (50.1, "seed 0's robust accuracy of 50.1 % is no number of 300 images"),
    ],
)
def test_a_seed_changed_with_its_mean_is_found(tmp_path: Path, robust: float, said: str) -> None:
    write_five(tmp_path / "runs")
    (row,) = rows.collect(tmp_path / "runs")
    forged = replace(row, per_seed=row.per_seed | {0: row.per_seed[0] | {"robust": robust}})
    (path,) = model_info.publish([forged], tmp_path / "board")
    with pytest.raises(DataError, match=rf"was changed by hand: {said}; publish the row again"):
        model_info.from_model_info(path)


def test_a_board_file_is_known_by_its_content(tmp_path: Path) -> None:
    write_five(tmp_path / "runs")
    found = rows.collect(tmp_path / "runs")
    (path,) = model_info.publish(found, tmp_path / "board")
    (tmp_path / "mine").mkdir()
    moved = path.rename(tmp_path / "mine" / "fire.json")
    (tmp_path / "mine" / "other.json").write_text('{"robench_fire": {"format": 1}}')
    (tmp_path / "mine" / "broken.json").write_text("{")
    assert model_info.find_rows(tmp_path / "mine") == model_info.find_rows(moved) == found
