"""`robench submit`: what is claimed, of which seed, with which extra data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import submission_runs as made
from bundle_claims import AA, INFO, facts_of
from corrupted_runs import record
from hypothesis import given
from hypothesis import strategies as st

from robench_fire.boards.rows import collect
from robench_fire.errors import RobenchError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.files import sealed, write_json
from robench_fire.runs import folders
from robench_fire.runs.folders import Run, read_json
from robench_fire.runs.model_source import source_of
from robench_fire.submission.claims.claim import MEDIAN, ONLY, ZERO, Claim, admissible, check_board, choose
from robench_fire.submission.claims.from_runs import claimed, default_name

pytestmark = pytest.mark.slow

FOOTNOTE = r"Uses \(\ell_{\infty} \) = 0.031 ≈ 7.9/255 instead of 8/255."  # as RobustBench's files have it


@pytest.mark.parametrize(
    ("norm", "eps", "usual"), [("L2", "8/255", "0.5"), ("L2", "0.031", "0.5"), ("Linf", "0.5", "8/255")]
)
def test_each_board_has_its_radius(norm: str, eps: str, usual: str) -> None:
    check_board("cifar10", norm, usual, "Me2026Own")
    with pytest.raises(UsageError, match=f"eps {eps}: RobustBench's board is at {usual}; use --eps {usual}"):
        check_board("cifar10", norm, eps, "Me2026Own")


def edit(folder: Path, name: str, **values: Any) -> None:
    """Change a JSON of every seed below ``folder``, or of the one that it is; a value of None removes its key."""
    found = [folder / name] if (folder / name).exists() else sorted(folder.glob(f"seed-*/{name}"))
    assert found
    for path in found:
        changed = read_json(path) | values
        write_json(path, sealed({key: value for key, value in changed.items() if value is not None}))


def claim(folder: Path, seed: str = "", synthetic: bool = False) -> Claim:
    return claimed(
        folders.find(folder), seed=seed, eps="", name=made.NAME, link="", synthetic=synthetic, images=made.TEST
    )


def test_no_accuracy_under_corruptions_is_claimed(own: Path) -> None:
    before = claim(own)
    for run in folders.find(own):
        record(run, 200, weights=run.read("train.json")["weights_sha256"])
    assert "corruptions" in collect(own)[0].facts
    assert claim(own) == before


def validated(folder: Path, *values: float) -> None:
    """Let the last epoch's robust accuracy on the validation images be these, by seed."""
    for run, value in zip(folders.find(folder), values, strict=True):
        rows = [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()]
        run.write_curve([*rows[:-1], rows[-1] | {"robust": value}])


def test_the_claim_is_the_seeds_own_and_not_the_mean(own: Path) -> None:
    edit(own / "seed-3", f"{AA}.json", clean=99.0, robust=0.0)
    mean = collect(own)[0].over_seeds("clean").mean
    info = claim(own).model_info()
    assert info["clean_acc"] == f"{facts_of(own, 0)['clean']:.2f}" != f"{mean:.2f}"
    assert info["autoattack_acc"] == f"{facts_of(own, 0)['robust']:.2f}"


def test_reported_is_the_papers_figure_for_its_network(own: Path) -> None:
    for run in folders.find(own):
        plan = run.read("plan.json")
        run.write("plan.json", plan | {"recipe": plan["recipe"] | {"arch": "wrn-34-10"}})
    assert claim(made.renamed(own)).model_info()["reported"] == "51.45"


def extra(folder: Path, images: int, source: str = "file") -> Path:
    """As training with a file of extra images leaves it, under the name that the plan then has."""
    for run in folders.find(folder):
        plan = run.read("plan.json")
        mixed = {"kind": "Extra", "source": source, "sha256": "0", "hidden": 0.5, "share": 0.5}
        run.write("plan.json", plan | {"recipe": plan["recipe"] | {"extra": mixed}})
        run.write("train.json", run.read("train.json") | {"extra_images": images})
    return made.renamed(folder)


def test_hidden_labels_are_said_in_the_name_and_in_the_footnote(own: Path) -> None:
    own = extra(own, 10, "hidden")
    assert default_name(folders.find(own)) == f"{made.NAME}_hidden"
    info = claim(own).model_info()
    assert info["additional_data"] is False
    assert info["footnote"].startswith("No extra data: the labels of 50% of the training images were hidden")


@pytest.mark.parametrize(("images", "said"), [(1_000_000, "1M"), (500_000, "500K"), (1_500_000, "1.5M")])
def test_extra_images_are_additional_data_unless_they_are_synthetic(own: Path, images: int, said: str) -> None:
    with pytest.raises(UsageError, match="--synthetic is about extra data, and this plan has none"):
        admissible(claim(own, synthetic=True))
    own = extra(own, images)
    assert default_name(folders.find(own)) == f"{made.NAME}_extra"
    real, synthetic = claim(own).model_info(), claim(own, synthetic=True).model_info()
    assert (real["additional_data"], "footnote" in real) == (True, False)
    assert synthetic["additional_data"] is False
    assert synthetic["footnote"] == f"It uses additional {said} synthetic images in training."


@given(st.dictionaries(st.integers(0, 9), st.sampled_from([0.0, 10.0, 20.0, 30.0, 40.5]), min_size=1, max_size=8))
def test_two_rules_choose_and_nothing_else(validation: dict[int, float]) -> None:
    ordered, shuffled = sorted(validation.values()), dict(reversed(validation.items()))
    median, rule = choose(validation, "median")
    assert validation[median] == ordered[(len(ordered) - 1) // 2]  # an element, the lower one of two
    one = len(validation) == 1
    assert choose(shuffled, "median") == (median, rule) == (median, ONLY if one else MEDIAN)
    allowed = {"median": (median, rule), str(median): (median, rule)}
    allowed |= {"": (median, ONLY)} if one else dict.fromkeys(("", "0"), (0, ZERO)) if 0 in validation else {}
    for asked in {"", "median", "10", *map(str, range(10))}:
        if asked in allowed:
            assert choose(validation, asked) == choose(shuffled, asked) == allowed[asked]
        else:
            with pytest.raises(UsageError, match=f"is {ONLY}" if one else "could be the best one on the test images"):
                choose(validation, asked)


@pytest.mark.parametrize(
    ("asked", "seed", "rule"), [("", 0, ZERO), ("0", 0, ZERO), ("median", 3, MEDIAN), ("3", 3, MEDIAN)]
)
def test_the_seed_is_the_lowest_or_the_median_on_validation(own: Path, asked: str, seed: int, rule: str) -> None:
    validated(own, 10, 50, 20, 30, 40)
    for number in range(5):
        edit(own / f"seed-{number}", f"{AA}.json", robust=90.0 if number == 1 else 1.0 + number)
    chosen = claim(own, asked)
    assert (chosen.seed, chosen.rule) == (seed, rule)
    assert chosen.validation == {0: 10, 1: 50, 2: 20, 3: 30, 4: 40}
    assert chosen.model_info()["autoattack_acc"] == f"{1 + seed}.00"


@pytest.mark.parametrize("asked", ["1", "2", "4", "5", "best", "-1", "0,3", "first"])
def test_a_seed_chosen_by_hand_is_refused(own: Path, asked: str) -> None:
    validated(own, 10, 50, 20, 30, 40)
    with pytest.raises(UsageError, match=rf"--seed {asked}: choose 0 .* or 3 .* best one on the test images") as fault:
        claim(own, asked)
    assert fault.value.exit_code == 2


def test_validation_is_of_the_epoch_that_was_kept(own: Path) -> None:
    run = Run(own / "seed-2")
    run.write_curve([{"clean": 90.0, "robust": robust} for robust in (20.0, 60.0, 40.0)])
    assert claim(own).validation[2] == 40
    for select in ("validation", "copies"):
        for each in folders.find(own):
            told = each.read("plan.json")
            each.write("plan.json", told | {"recipe": told["recipe"] | {"select": select}})
        own = made.renamed(own)
        assert claim(own).validation[2] == 60
    Run(own / "seed-2").write_curve([{"clean": clean} for clean in (70.0, 90.0, 80.0)])  # trained without an attack
    assert claim(own).validation[2] == 90


@pytest.mark.parametrize(("values", "rule"), [((10, 50, 20, 30, 40), MEDIAN), ((30, 50, 20, 10, 40), ZERO)])
def test_the_median_can_be_submitted(own: Path, tmp_path: Path, values: tuple[float, ...], rule: str) -> None:
    """Also where it is seed 0, which needs no other reason."""
    validated(own, *values)
    assert [each for each in made.submitted(own, tmp_path / "out", seed="median") if not each.passed] == []
    told = read_json(tmp_path / "out" / "provenance" / "seeds.json")
    assert (told["submitted"], told["rule"]) == (values.index(30), rule)
    assert f"is seed {values.index(30)} of 5, {rule}." in (tmp_path / "out" / "ISSUE.md").read_text()


@pytest.mark.parametrize("where", ["its parent", "itself"])
def test_a_seeds_folder_means_that_seed(own: Path, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validated(own, 10, 50, 20, 30, 40)
    monkeypatch.chdir(own if where == "its parent" else own / "seed-3")
    folder = Path("seed-3" if where == "its parent" else ".")
    assert all(each.passed for each in made.submitted(folder, tmp_path / "out"))
    told, facts = read_json(tmp_path / "out" / "provenance" / "seeds.json"), facts_of(own, 3)
    assert (told["submitted"], len(told["seeds"])) == (3, 5)
    assert read_json(tmp_path / "out" / INFO)["clean_acc"] == f"{facts['clean']:.2f}"
    assert f"| 3 (this one) | {facts['clean']:.2f} % |" in (tmp_path / "out" / "MODEL_CARD.md").read_text()
    with pytest.raises(UsageError, match=r"--seed 1: choose 0 .* or 3 "):
        made.submitted(own / "seed-1", tmp_path / "other")


def test_at_0_031_it_carries_robustbenchs_footnote(own: Path, tmp_path: Path) -> None:
    wanted = Evaluations(attacks=("aa",), eps=("0.031",))
    (facts,) = evaluate_source(source_of(Run(own / "seed-0")), made.splits().test, wanted, made.CPU, made.quiet)
    for seed in range(1, 5):
        Run(own / f"seed-{seed}").write(
            f"eval.{facts['name']}.json", facts_of(own, seed) | {"eps": "0.031", "name": facts["name"]}
        )
    assert claim(own).model_info()["eps"] == "8/255"
    assert [each for each in made.submitted(own, tmp_path / "out", eps="0.031") if not each.passed] == []
    info = read_json(tmp_path / "out" / INFO)
    assert (info["eps"], info["footnote"]) == ("0.031", FOOTNOTE)
    assert f"- **Footnote**: {FOOTNOTE}\n" in (tmp_path / "out" / "ISSUE.md").read_text()
    assert "≈ 7.9/255" in (tmp_path / "out" / "leaderboard_row.html").read_text()


def test_the_quick_estimate_is_no_claim(own: Path) -> None:
    """Whatever it says of itself: without AutoAttack's result there is nothing to submit."""
    for path in sorted(own.glob("seed-*/eval.*.json")):
        facts = read_json(path)
        if facts["attack"] == "aa":
            name = path.name.replace("eval.aa-", "eval.quick-")
            write_json(path.with_name(name), sealed(facts | {"attack": "quick", "name": name[5:-5]}))
        path.unlink()
    with pytest.raises(RobenchError, match="there is no AutoAttack result at eps 8/255"):
        claim(own)
