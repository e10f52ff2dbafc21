"""Entries: rows of ours, and RobustBench's weights evaluated here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from published_entries import BY_NAME

from robench_fire.boards.model_info import publish
from robench_fire.boards.rows import Row
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.reliability_text import READ
from robench_fire.models.names import display_name
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import to_plain
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.evaluations import evaluation_name
from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.entries import (
    CHECKPOINT,
    OURS,
    REEVALUATED,
    entries_in,
    of_row,
    reevaluated,
)


def write_evaluation(folder: Path, key: str, attack: str, robust: float, **changes: Any) -> Path:
    """What `robench eval rb:NAME` leaves beside the weights of RobustBench's zoo."""
    facts: dict[str, Any] = {
        "attack": attack, "version": "1 on pyautoattack 0.2.0", "norm": "Linf", "eps": "8/255", "seed": 0,
        "examples": 1000, "batch_size": 500, "arch": f"rb:{key}", "normalise": "none", "weights_sha256": "0" * 64,
        "images_sha256": "1" * 64, "clean": 90.1, "robust": robust, "robust_interval": [robust - 3, robust + 3],
        "after": {attack: robust}, "attack_seconds": {attack: 1.0}, "seconds": 1.0, "largest_perturbation": 0.03,
        "flags": [], "sessions": 1, "machines": ["torch x on cpu"], "versions": {"torch": "x"},
        "reliability": {"verdict": "reliable", "reasons": [], "checks": [], "siblings": {}},
    } | changes  # fmt: skip
    name = evaluation_name(attack, *(facts[each] for each in ("norm", "eps", "examples", "seed", "batch_size")))
    path = folder / "cifar10" / facts["norm"] / f"{key}.pt.eval.{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": name, **facts}), encoding="utf-8")
    return path


def test_evaluations_of_published_weights_join_into_one_entry(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "Carmon2019Unlabeled", "aa", 59.4)
    write_evaluation(tmp_path, "Carmon2019Unlabeled", "pgd20", 62.0, reliability={"verdict": "unknown", "reasons": []})
    write_evaluation(tmp_path, "Carmon2019Unlabeled", "aa-plus", 1.0)
    write_evaluation(tmp_path, "Carmon2019Unlabeled", "square", 2.0)
    (found,) = reevaluated(tmp_path)
    theirs = BY_NAME["cifar10", "Linf", "Carmon2019Unlabeled"]
    assert (found.origin, found.source, found.row) == (REEVALUATED, REEVALUATED, None)
    assert [found.clean, found.robust, found.pgd20] == [MeanStd(value, None, 1) for value in (90.1, 59.4, 62.0)]
    assert found.average is not None
    assert found.average.mean == pytest.approx(74.75)
    assert (found.examples, found.evaluation_seed, found.eps) == (1000, 0, "8/255")
    assert (found.unreliable, found.notes) == (False, ("Published weights, our evaluation.",))
    for name in ("key", "title", "link", "authors", "venue", "architecture", "dataset", "norm", "extra"):
        assert getattr(found, name) == getattr(theirs, name)


def test_another_setting_is_another_entry(tmp_path: Path) -> None:
    key = "Carmon2019Unlabeled"
    write_evaluation(tmp_path, key, "aa", 59.4)
    for number, changes in enumerate(({"eps": "0.031"}, {"examples": 200}, {"seed": 3}, {"batch_size": 100})):
        write_evaluation(tmp_path, key, "aa", 50.0 + number, **changes)
    write_evaluation(tmp_path, key, "aa", 70.0, norm="L2", eps="0.5")
    write_evaluation(tmp_path, "Wong2020Fast", "aa", 43.0)
    found = reevaluated(tmp_path)
    assert sorted(each.robust.mean for each in found if each.robust) == [43.0, 50.0, 51.0, 52.0, 53.0, 59.4, 70.0]
    assert {(each.norm, each.eps) for each in found} == {("Linf", "8/255"), ("Linf", "0.031"), ("L2", "0.5")}


def test_why_an_evaluation_is_not_to_be_believed_becomes_a_note(tmp_path: Path) -> None:
    reasons = ["AutoAttack's own checks: zero gradients", "larger radii do not break it"]
    write_evaluation(tmp_path, "Wong2020Fast", "aa", 43.0, reliability={"verdict": "unreliable", "reasons": reasons})
    (found,) = reevaluated(tmp_path)
    assert found.unreliable is True
    assert found.notes[1:] == tuple(f"Unreliable: {reason} ({READ})." for reason in reasons)
    write_evaluation(
        tmp_path, "Wong2020Fast", "aa", 43.0, reliability={"verdict": "unknown", "reasons": ["few images"]}
    )
    (found,) = reevaluated(tmp_path)
    assert (found.unreliable, found.notes[1:]) == (
        None,
        (f"Whether AutoAttack's result can be believed is not known ({READ}).",),
    )


def test_an_evaluation_that_was_not_judged_is_unknown(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, "Wong2020Fast", "aa", 43.0)
    facts = json.loads(path.read_text())
    del facts["reliability"]
    path.write_text(json.dumps(facts))
    (found,) = reevaluated(tmp_path)
    assert (found.unreliable, found.robust) == (None, MeanStd(43.0, None, 1))
    assert found.notes[1:] == (f"Whether AutoAttack's result can be believed is not known ({READ}).",)


def test_pgd_alone_says_nothing_of_autoattack(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "Wong2020Fast", "pgd20", 46.0)
    (found,) = reevaluated(tmp_path)
    assert (found.robust, found.average, found.unreliable, found.score) == (None, None, None, 46.0)
    assert (found.pgd20, found.notes) == (MeanStd(46.0, None, 1), ("Published weights, our evaluation.",))


def test_a_name_that_is_not_published_stands_for_its_title(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "Nobody2030Nothing", "aa", 43.0)
    (found,) = reevaluated(tmp_path)
    assert (found.key, found.method, found.title) == ("Nobody2030Nothing",) * 3
    assert {found.link, found.authors, found.venue, found.architecture, found.extra} == {""}


def test_only_weights_of_robustbenchs_zoo_are_published_weights(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "mine", "aa", 43.0, arch="resnet-18")
    write_evaluation(tmp_path, "Wong2020Fast", "aa-plus", 42.0)
    write_evaluation(tmp_path, "Carmon2019Unlabeled", "square", 70.0)
    assert reevaluated(tmp_path) == []  # and no other attack than AutoAttack and PGD-20 makes an entry
    write_evaluation(tmp_path, "Wong2020Fast", "aa", 43.0).write_text("{")
    with pytest.raises(DataError, match=r"Wong2020Fast\.pt\.eval\..*json is not JSON"):
        reevaluated(tmp_path)


def test_an_evaluation_without_its_facts_is_named(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, "Wong2020Fast", "aa", 43.0)
    path.write_text(json.dumps({"arch": "rb:Wong2020Fast", "attack": "aa"}))
    with pytest.raises(DataError, match=r"Wong2020Fast\.pt\.eval\..*json"):
        reevaluated(tmp_path)


def test_evaluations_of_other_weights_under_the_same_name_are_not_joined(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "Wong2020Fast", "aa", 43.0)
    write_evaluation(tmp_path, "Wong2020Fast", "pgd20", 70.0, weights_sha256="f" * 64)
    assert not any(each.robust and each.pgd20 for each in reevaluated(tmp_path))


@pytest.mark.parametrize("inside", [".", "cifar10", "cifar10/Linf"])
def test_the_data_set_is_known_wherever_one_stands(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_evaluation(tmp_path, "Wong2020Fast", "aa", 43.0)
    monkeypatch.chdir(tmp_path / inside)
    (found,) = entries_in([Path()])
    assert (found.dataset, found.title) == ("cifar10", "Fast is better than free: Revisiting adversarial training")


def row(
    defense: str = "fire", dataset: str = "cifar10", robust: tuple[float, ...] = (50.0, 51.0, 52.0), **asked: Any
) -> Row:
    """A row as `leaderboard.collect` makes it of finished runs."""
    composed = compose(Request(defense=defense, dataset=dataset, **asked))
    plan, seeds = composed.plan, [str(seed) for seed in range(len(robust))]
    session = {"versions": {"torch": "x"}, "device": "cpu", "commit": "abc"}
    facts: Mapping[str, Any] = {
        "by_hand": {}, "usual_eps": str(plan.claim.eps), "sessions": {seed: [session] for seed in seeds},
        "evaluation_batch_size": 500, "flags": [],
        "evaluator": {"attack_version": "1", "machines": [], "robust_intervals": {}},
        "verdicts": {seed: {"verdict": "reliable", "reasons": []} for seed in seeds},
        "weights_sha256": dict.fromkeys(seeds, "0" * 64), "labeller": {}, "at_training_radius": {},
    }  # fmt: skip
    return Row(
        paper=composed.paper._asdict() | {"reported": [each._asdict() for each in composed.paper.reported]},
        architecture=display_name(plan.recipe.arch), plan=to_plain(plan), fingerprint=fingerprint(plan),
        norm=plan.claim.norm, eps=str(plan.claim.eps), attack="aa", examples=1000, evaluation_seed=0,
        per_seed={k: {"clean": 85.0 + k, "robust": each, "train_seconds": 60.0} for k, each in enumerate(robust)},
        unfinished=(), pgd20={0: 55.0, 1: 57.0}, facts=dict(facts),
    )  # fmt: skip


def test_a_row_of_ours_is_an_entry() -> None:
    mine = row()
    found = of_row(mine)
    assert (found.origin, found.key, found.method, found.row) == (OURS, "Picot2021Adversarial", "FIRE", mine)
    assert found.clean == pytest.approx((86.0, 1.0, 3))
    assert found.robust == pytest.approx((51.0, 1.0, 3))
    assert found.average == pytest.approx((68.5, 1.0, 3))
    assert found.pgd20 == pytest.approx((56.0, 2**0.5, 2))
    assert (found.score, found.best_known, found.unreliable) == (51.0, None, False)
    assert (found.seeds, found.profile, found.extra, found.examples) == ("3/5", "matched", "", 1000)
    assert found.notes == tuple(mine.footnotes()) == ("3 of 5 seeds.",)
    assert found.reported == {"FIRE paper": "85.98 / 51.45", "RobustBench": "–"}


def test_without_autoattack_a_row_has_no_robust_accuracy() -> None:
    found = of_row(replace(row(), attack="pgd20"))
    assert (found.robust, found.average, found.score) == (None, None, 56.0)


def test_a_row_that_is_not_judged_is_neither_reliable_nor_unreliable() -> None:
    mine = row()
    mine.facts["verdicts"]["0"] = {"verdict": "unknown", "reasons": []}
    assert of_row(mine).unreliable is None
    mine.facts["verdicts"]["1"] = {"verdict": "unreliable", "reasons": ["zero gradients"]}
    assert of_row(mine).unreliable is True


def test_entries_of_several_sources(tmp_path: Path) -> None:
    publish([row(), row("trades")], tmp_path / "board")
    publish([row(dataset="mnist")], tmp_path / "other")
    write_evaluation(tmp_path / "models", "Wong2020Fast", "aa", 43.0)
    found = entries_in([tmp_path / "board", tmp_path / "models", tmp_path / "other"])
    assert [(each.method, each.dataset, each.origin) for each in found] == [
        ("FIRE", "cifar10", OURS), ("TRADES", "cifar10", OURS), ("Wong2020Fast", "cifar10", REEVALUATED),
        ("FIRE", "mnist", OURS),
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    assert entries_in([tmp_path / "empty", tmp_path / "other"]) == entries_in([tmp_path / "other"])


def test_entries_at_a_radius(tmp_path: Path) -> None:
    publish([row(), row("trades", eps="4/255")], tmp_path / "board")
    write_evaluation(tmp_path / "models", "Wong2020Fast", "aa", 43.0)
    write_evaluation(tmp_path / "models", "Wong2020Fast", "aa", 53.0, eps="4/255")
    sources = [tmp_path / "board", tmp_path / "models"]
    found = entries_in(sources, "4/255")
    assert [(each.method, each.eps, each.robust and each.robust.mean) for each in found] == [
        ("TRADES", "4/255", 51.0), ("Wong2020Fast", "4/255", 53.0),
    ]  # fmt: skip
    assert len(entries_in(sources)) == 4


def test_where_there_is_nothing_the_way_to_something_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist; train something first: `robench train fire digits`"):
        entries_in([tmp_path, tmp_path / "nowhere"])
    with pytest.raises(DataError, match=rf"no evaluated run in {tmp_path}, {tmp_path}; make one first: `robench train"):
        entries_in([tmp_path, tmp_path])
    publish([row()], tmp_path)
    assert len(entries_in([tmp_path, tmp_path / "cifar10"])) == 1  # sources may hold each other
    with pytest.raises(UsageError, match="--eps: 'wide' is not a number"):
        entries_in([tmp_path], "wide")
    with pytest.raises(DataError, match=rf"no evaluated run at eps 0.1 in {tmp_path}; .*`robench eval RUNS --eps 0.1`"):
        entries_in([tmp_path], "0.1")
    assert [each.eps for each in entries_in([tmp_path], "8/255")] == ["8/255"]


def test_an_evaluated_checkpoint_is_an_entry_by_its_file(tmp_path: Path) -> None:
    facts = {"arch": "wrn-10-1", "dataset": "cifar10"}
    for attack, robust in (("aa", 40.0), ("pgd20", 45.0)):
        path = write_evaluation(tmp_path, "best", attack, robust, **facts)
        path.rename(tmp_path / path.name)
    write_evaluation(tmp_path, "best", "aa", 30.0, **facts, normalise="image").rename(
        tmp_path / "best.pt.normalise-image.eval.aa-Linf-8_255-1000.json"
    )
    (tmp_path / "best.pt").touch()
    for where in (tmp_path, tmp_path / "best.pt"):
        whole, otherwise = entries_in([where])
        assert (whole.method, whole.origin, whole.architecture) == ("best.pt", CHECKPOINT, "WideResNet-10-1")
        assert [whole.robust, whole.pgd20] == [MeanStd(value, None, 1) for value in (40.0, 45.0)]
        assert (otherwise.method, otherwise.robust) == ("best.pt.normalise-image", MeanStd(30.0, None, 1))


def test_what_is_no_row_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"clean_acc": "90.00"}')
    with pytest.raises(DataError, match=r"other\.json is no row of ours: it has no robench_fire with a plan"):
        entries_in([tmp_path / "other.json"])
