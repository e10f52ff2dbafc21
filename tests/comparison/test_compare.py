"""robench compare: rows by name, the interval over seeds and images, and a sentence for each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import ran
from written_runs import CLEAN, ROBUST, write_five, write_run

from robench_fire.boards import model_info, rows
from robench_fire.boards.labels import chosen
from robench_fire.comparison.compare import compare, sentence
from robench_fire.comparison.scores import scores
from robench_fire.errors import UsageError
from robench_fire.files import sealed, write_json
from robench_fire.quantity import duration
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import find, read_json
from robench_fire.statistics.paired import difference


def write_masks(root: Path) -> None:
    """Beside every AutoAttack below ``root``, masks of its accuracies; images differ in how hard they are."""
    hard = np.random.default_rng(0).permutation(300)
    for number, run in enumerate(find(root)):
        for path in run.folder.glob("eval.aa-*.json"):
            facts = run.read(path.name)
            order = np.argsort(hard + np.random.default_rng(number + 1).normal(0, 20, 300))
            masks = np.zeros((2, 300), bool)
            for mask, name in zip(masks, ("clean", "robust"), strict=True):
                mask[order[: round(3 * facts[name])]] = True
            np.save(path.with_suffix(".npy"), masks)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """FIRE, and TRADES two points below it, over five seeds, with masks."""
    write_five(tmp_path / "runs")
    for seed, (clean, robust) in enumerate(zip(CLEAN, ROBUST, strict=True)):
        write_run(tmp_path / "runs", Request(defense="trades", dataset="digits"), seed, clean, robust - 2)
    write_masks(tmp_path / "runs")
    return tmp_path / "runs"


def test_a_board_has_the_masks_and_says_the_same(runs: Path, tmp_path: Path) -> None:
    found = rows.collect(runs)
    model_info.publish(found, tmp_path / "board")
    again = model_info.find_rows(tmp_path / "board")
    for here, there in zip(found, again, strict=True):
        for metric in ("clean", "robust", "average"):
            one, other = scores(here, metric), scores(there, metric)  # type: ignore[arg-type]
            assert one is not None
            assert one.shape == (5, 300)
            assert np.array_equal(one, other)  # type: ignore[arg-type]
            assert one.mean() == pytest.approx(
                here.average.mean if metric == "average" else here.over_seeds(metric).mean
            )


def test_the_first_against_each_of_the_others(runs: Path) -> None:
    (each,) = compare(chosen(rows.collect(runs), ["fire", "trades"]), "robust")
    one, other = (scores(row, "robust") for row in (each.one, each.other))
    assert one is not None
    assert other is not None
    assert each.found == difference(one, other)
    assert each.found.value == pytest.approx(2)
    assert each.paired


def test_the_sentence_says_size_side_and_basis(runs: Path) -> None:
    (each,) = compare(chosen(rows.collect(runs), ["trades", "fire"]), "robust")
    said = sentence(each)
    half = f"{each.found.half:.2f}"
    basis = "(95 %, 5 seeds, 300 images)"
    if each.differs:
        assert said == f"TRADES is 2.00 ± {half} points below FIRE on AutoAttack {basis}."
    else:
        start = f"TRADES and FIRE cannot be told apart on AutoAttack: the first is 2.00 ± {half} points below {basis}. "
        assert said.startswith(start)
        assert "settle" in said


def test_a_row_cannot_be_told_from_itself(runs: Path) -> None:
    (each,) = compare(chosen(rows.collect(runs), ["fire", "fire"]), "average")
    assert (each.found.value, each.differs, each.found.p) == (0, False, 1)
    assert "cannot be told apart on the average of clean accuracy and AutoAttack" in sentence(each)


@pytest.mark.parametrize("name", ["fire", "FIRE", "Picot2021Adversarial"])
def test_rows_are_named_by_defense_method_or_key(runs: Path, name: str) -> None:
    found = rows.collect(runs)
    assert chosen(found, [name])[0].plan["name"] == "fire"
    assert chosen(found, [found[0].fingerprint]) == [found[0]]


def test_a_name_of_no_row_and_of_two_is_refused(runs: Path) -> None:
    with pytest.raises(UsageError, match="unknown row 'frie': did you mean fire"):
        chosen(rows.collect(runs), ["frie"])
    write_five(runs, settings=(("--set", "defense.lam", "20"),))
    with pytest.raises(
        UsageError, match=r"fire is 2 rows here: name a folder .*, or its plan, [0-9a-f]{12} or [0-9a-f]{12}"
    ):
        chosen(rows.collect(runs), ["fire"])


def test_rows_of_another_radius_or_number_of_images_are_refused(tmp_path: Path) -> None:
    write_five(tmp_path)
    write_run(tmp_path, Request(defense="trades", dataset="digits", eps="0.1"), 0, 90.0, 60.0)
    write_run(tmp_path, Request(defense="mart", dataset="digits"), 0, 90.0, 60.0, examples=100)
    found = rows.collect(tmp_path)
    with pytest.raises(UsageError, match=r"FIRE and TRADES cannot be compared: eps 0\.2 of the one, 0\.1 of the other"):
        compare(chosen(found, ["fire", "trades"]), "robust")
    with pytest.raises(UsageError, match="FIRE and MART cannot be compared: number of test images 300 of the one, 100"):
        compare(chosen(found, ["fire", "mart"]), "robust")


def test_without_masks_it_is_over_seeds_alone_and_says_so(tmp_path: Path) -> None:
    write_five(tmp_path)
    write_five(tmp_path, defense="trades")
    (each,) = compare(chosen(rows.collect(tmp_path), ["fire", "trades"]), "robust")
    assert not each.paired
    assert "Without masks the interval is over seeds alone, not over images." in sentence(each)


def test_one_seed_is_over_images_alone_and_needs_masks(tmp_path: Path) -> None:
    for name, robust in (("fire", 54.0), ("trades", 51.0)):
        write_run(tmp_path, Request(defense=name, dataset="digits"), 0, 90.0, robust)
    with pytest.raises(UsageError, match="FIRE has a single seed and no masks: nothing says how far it varies"):
        compare(chosen(rows.collect(tmp_path), ["fire", "trades"]), "robust")
    write_masks(tmp_path)
    (each,) = compare(chosen(rows.collect(tmp_path), ["fire", "trades"]), "robust")
    said = sentence(each)
    assert "(95 %, 1 seed, 300 images)" in said
    assert "single seed: the interval is over images alone" in said


def test_an_unreliable_row_is_kept_and_marked(runs: Path) -> None:
    for path in runs.rglob("fire/*/seed-0/eval.aa-*.json"):
        verdict = {"verdict": "unreliable", "reasons": ["because"]}
        write_json(path, sealed(read_json(path) | {"reliability": verdict}))
    (each,) = compare(chosen(rows.collect(runs), ["fire", "trades"]), "robust")
    assert "AutoAttack's result for FIRE is unreliable." in sentence(each)


def test_a_mask_of_other_accuracy_is_left_out(runs: Path) -> None:
    path = next(runs.rglob("fire/*/seed-0/eval.aa-*.npy"))
    masks = np.load(path)
    masks[1, 0] = not masks[1, 0]
    np.save(path, masks)
    fire, trades = chosen(rows.collect(runs), ["fire", "trades"])
    assert scores(fire, "robust") is None
    assert scores(trades, "robust") is not None
    (each,) = compare([fire, trades], "robust")
    assert not each.paired


def test_the_command_compares_a_board_and_says_the_same_as_json(runs: Path, tmp_path: Path) -> None:
    model_info.publish(rows.collect(runs), tmp_path / "board")
    shown = ran(tmp_path, *"compare board fire trades".split()).stdout
    (found,) = json.loads(ran(tmp_path, *"compare board fire trades --json".split()).stdout)["comparisons"]
    assert found["sentence"] in shown
    assert found["difference"] == pytest.approx(2)
    assert found["interval"][0] < 2 < found["interval"][1]
    assert (found["seeds"], found["images"], found["over_images"]) == ([5, 5], 300, True)


def test_a_tiny_p_value_is_no_zero(runs: Path, tmp_path: Path) -> None:
    for run in find(runs):
        for path in run.folder.glob("eval.aa-*.json"):
            if "trades" in path.parts:
                path.write_text(json.dumps(run.read(path.name) | {"robust": 10.0}))
    write_masks(runs)
    assert "< 0.001" in ran(tmp_path, *"compare runs fire trades".split()).stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("compare board fire", 2, "name two rows or more"),
        ("compare absent fire trades", 4, "absent does not exist"),
        ("compare empty fire trades", 4, "empty holds no evaluated rows of ours"),
        ("compare runs fire trdes", 2, "did you mean trades"),
    ],
)
def test_what_cannot_be_compared_is_said(runs: Path, tmp_path: Path, words: str, code: int, said: str) -> None:
    (tmp_path / "empty").mkdir()
    assert said in ran(tmp_path, *words.split(), code=code).stderr.replace("\n", " ")


def test_rows_on_other_test_images_are_refused(runs: Path) -> None:
    for number, name in enumerate(("fire", "trades")):
        for path in runs.rglob(f"{name}/*/seed-*/eval.aa-*.json"):
            write_json(path, sealed(read_json(path) | {"images_sha256": str(number) * 64}))
    with pytest.raises(UsageError, match="cannot be compared: test images 000000000000 of the one, 1111"):
        compare(chosen(rows.collect(runs), ["fire", "trades"]), "robust")


def test_what_would_settle_it_is_said_with_its_cost(runs: Path) -> None:
    """Of rows less than a point apart, on a part of a larger test set."""
    for run in find(runs):
        for path in run.folder.glob("eval.aa-*.json"):
            robust = 52 - 2 / 3 * ("trades" in path.parts) + (run.seed - 2) / 3
            path.write_text(json.dumps(run.read(path.name) | {"seconds": 30.0, "robust": robust}))
    write_masks(runs)
    fire, trades = (
        replace(row, plan=row.plan | {"dataset": "cifar10"}) for row in chosen(rows.collect(runs), ["fire", "trades"])
    )
    (each,) = compare([fire, trades], "robust")
    assert each.more_seeds is not None
    assert each.more_images is not None
    said = sentence(each)
    more = 2 * (each.more_seeds - 5)
    assert f"by {each.more_seeds} seeds of each, {more} more (about " in said
    assert f"or by {each.more_images:,} test images, {each.more_images - 300:,} more (about " in said
    assert duration(10 * 30 * (each.more_images / 300 - 1)) in said  # ten seeds, half a minute for 300 images
