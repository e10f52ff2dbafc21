"""Runs are what was written: what disks, editors and mixed-up folders do to them is told, and which file and value."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import verified_runs as do
from command_line import ran
from verified_runs import Change, bit, edited, exchanged, seeds, verified, wrong

from robench_fire.errors import DataError
from robench_fire.files import sealed, sha256, write_json
from robench_fire.runs.folders import Run
from robench_fire.tables.entries import entries_in


def test_what_was_written_agrees(made: Path) -> None:
    found = verified(made, recompute=10)
    assert {each.passed for each in found} == {True}
    assert {each.what for each in found} == {
        "plan", "training", "provenance", "weights", "curve", "pseudo-labels", "labeller", "evaluation", "accuracies",
        "masks", "test images", "perturbed images", "broken images", "log", "clean predictions",
        "perturbed predictions",
    }  # fmt: skip


WEIGHTS, MASKS, ADV = "weights.safetensors", "eval.aa*.npy", "eval.aa*.adv.safetensors"
AA = "eval.aa*.json"
CHANGES: dict[str, tuple[Change, str, str]] = {
    "a bit of the weights": (bit(WEIGHTS), "weights", "weights.safetensors: its SHA-256 is "),
    "a bit of the masks": (bit(MASKS), "masks", "-40.npy: its SHA-256 is "),
    "a bit of the masks' header": (bit(MASKS, 30), "masks", "-40.npy: its SHA-256 is "),
    "a bit of the images": (bit(ADV), "perturbed images", ".adv.safetensors: its SHA-256 is "),
    "a bit of the log": (bit("eval.aa*.log"), "log", ".log: its SHA-256 is "),
    "a bit of the curve": (bit("curve.jsonl", 20), "curve", "curve.jsonl: its SHA-256 is "),
    "a bit of the pseudo-labels": (bit("pseudo_labels.npy"), "pseudo-labels", "pseudo_labels.npy: its SHA-256 is "),
    "the labeller's accuracy": (edited("labeller.json", "accuracy", value=99.0), "labeller", "was changed after it"),
    "clean accuracy": (edited(AA, "clean", value=97.5), "evaluation", "was changed after it was written: its seal is"),
    "a verdict": (edited(AA, "reliability", "verdict", value="reliable!"), "evaluation", "was changed after it was"),
    "training time": (edited("train.json", "seconds", value=0.1), "training", "was changed after it was written"),
    "the last epoch": (edited("train.json", "final", "loss", value=0.1), "training", "was changed after it was"),
    "a coefficient": (edited("plan.json", "recipe", "epochs", value=9), "plan", "its fingerprint is "),
    "a commit": (edited("provenance.json", "sessions", value=[]), "provenance", "was changed after it was written"),
    "masks of other images": (do.shorter_masks, "accuracies", "the masks are bool of shape (2, 39), not booleans of "),
    "weights of the other seed": (exchanged(WEIGHTS), "weights", "weights.safetensors: its SHA-256 is "),
    "masks of the other seed": (exchanged(MASKS), "masks", "-40.npy: its SHA-256 is "),
    "training of the other seed": (exchanged("train.json"), "training", "train.json: seed is 1, not 0"),
    "folders of each other's name": (do.seeds_exchanged, "training", "train.json: seed is "),
}  # fmt: skip


@pytest.mark.parametrize(("change", "what", "said"), CHANGES.values(), ids=list(CHANGES))
def test_a_change_is_found(own: Path, change: Change, what: str, said: str) -> None:
    change(seeds(own))
    found = wrong(verified(own))
    assert said in found[what]


SEALED_AGAIN: dict[str, tuple[Change, str, str]] = {
    "clean accuracy": (edited(AA, "clean", value=97.5, again=True), "accuracies", "clean accuracy is 97.5, not "),
    "robust accuracy": (edited(AA, "robust", value=97.5, again=True), "accuracies", "robust accuracy is 97.5, not "),
    "last attack": (edited(AA, "after", "square", value=1.0, again=True), "accuracies", "after the last attack is 1.0"),
    "first attack": (edited(AA, "after", "apgd-ce", value=1.0, again=True), "accuracies", "1.0 % is no number of 40 i"),
    "interval": (edited(AA, "robust_interval", value=[0, 1], again=True), "accuracies", "Wilson's upper end is 1, not"),
    "seconds": (edited(AA, "seconds", value=1e6, again=True), "accuracies", "seconds is 1000000.0, not "),
    "radius": (edited(AA, "eps", value="0.1", again=True), "accuracies", "its name is aa-Linf-0.2-40, not aa-Linf-0.1"),
    "images": (edited(AA, "images_sha256", value="0" * 64, again=True), "test images", "images_sha256 is 0000"),
    "weights": (edited(AA, "weights_sha256", value="0" * 64, again=True), "accuracies", "weights_sha256 is 0000"),
    "weights' hash": (edited("train.json", "weights_sha256", value="0" * 64, again=True), "weights", "recorded 0000"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "what", "said"), SEALED_AGAIN.values(), ids=list(SEALED_AGAIN))
def test_numbers_must_follow_from_masks_even_where_the_seal_fits(
    own: Path, change: Change, what: str, said: str
) -> None:
    change(seeds(own))
    assert said in wrong(verified(own))[what]


def test_a_seed_of_another_plan_is_found(own: Path) -> None:
    runs = seeds(own)
    other = own / "elsewhere" / "000000000000" / "seed-7"
    shutil.copytree(runs[0].folder, other)
    edited("plan.json", "recipe", "epochs", value=9)([Run(other)])
    shutil.move(other, runs[0].folder.with_name("seed-7"))
    found = wrong(verified(own))
    assert found["plan"].startswith("plan.json: its fingerprint is ")
    assert found["plan"].endswith(f"not {runs[0].folder.parent.name}, as its folder is called\n")
    with pytest.raises(DataError, match=r"plan\.json is of plan \w+, and lies among the seeds of"):
        entries_in([own])


def test_a_run_without_its_plan_is_found(own: Path) -> None:
    (seeds(own)[0].folder / "plan.json").unlink()
    assert "a training without its plan.json" in wrong(verified(own))["plan"]


def test_a_mask_changed_with_its_hashes_is_not_that_of_the_broken_images(own: Path) -> None:
    run = seeds(own)[0]
    stored, facts = do.the(run, MASKS), do.the(run, AA)
    masks = np.load(stored)
    stands, broken = np.flatnonzero(masks[1])[0], np.flatnonzero(masks[0] & ~masks[1])[0]
    masks[1, [stands, broken]] = masks[1, [broken, stands]]  # every accuracy stays
    np.save(stored, masks)
    write_json(facts, sealed(run.read(facts.name) | {"masks_sha256": sha256(stored)}))
    assert set(wrong(verified(own))) == {"broken images"}


def test_weights_changed_with_their_hashes_do_not_predict_what_the_masks_say(own: Path) -> None:
    runs = seeds(own)
    exchanged(WEIGHTS)(runs)
    for run in runs:
        digest = {"weights_sha256": sha256(run.weights)}
        for name in ("train.json", *(path.name for path in run.folder.glob("eval.*.json"))):
            run.write(name, run.read(name) | digest)
        for path in run.folder.glob("eval.*.log"):
            path.unlink()
    assert wrong(verified(own)) == {}
    found = wrong(verified(own, recompute=40))
    assert "are not as the mask says" in found["clean predictions"]
    assert "do not break the model" in found["perturbed predictions"]


def test_images_outside_the_radius_are_found(own: Path) -> None:
    from safetensors.numpy import load_file, save_file

    run = seeds(own)[0]
    stored, facts = do.the(run, ADV), do.the(run, AA)
    held = load_file(stored)
    held["images"][:, 0, 0, 0] = 1 - held["images"][:, 0, 0, 0]
    save_file(held, stored)
    write_json(facts, sealed(run.read(facts.name) | {"perturbed_sha256": sha256(stored)}))
    assert wrong(verified(own)) == {}
    assert "are outside Linf 0.2" in wrong(verified(own, recompute=40))["perturbed predictions"]


def test_what_older_versions_did_not_record_is_said_not_refused(own: Path) -> None:
    do.as_before_seals(seeds(own))
    found = verified(own, recompute=5)
    assert wrong(found) == {}
    assert {each.what for each in found if each.passed is None} == {
        "training", "provenance", "pseudo-labels", "evaluation", "masks", "perturbed images"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "what"),
    [(bit(WEIGHTS), "weights"), (bit(MASKS), "accuracies"), (edited(AA, "clean", value=97.5), "accuracies"),
     (edited(AA, "robust", value=2.5), "accuracies"), (edited("plan.json", "profile", value="short"), "plan"),
     (edited("train.json", "final", "loss", value=0.1), "curve"), (edited(AA, "seconds", value=1e6), "accuracies")],
)  # fmt: skip
def test_of_older_runs_what_follows_is_checked(own: Path, change: Change, what: str) -> None:
    do.as_before_seals(seeds(own))
    change(seeds(own))
    assert what in wrong(verified(own))


@pytest.mark.parametrize("pattern", [AA, "train.json", "provenance.json"])
def test_tables_refuse_a_changed_json(own: Path, pattern: str) -> None:
    edited(pattern, "seconds", value=1.0)(seeds(own))
    with pytest.raises(DataError, match="was changed after it was written"):
        entries_in([own])


def test_the_command_names_file_and_values(own: Path) -> None:
    told = json.loads(ran(own.parent, "verify", "runs", "--recompute", "3", "--json").stdout)
    assert {each["outcome"] for each in told["findings"]} == {"agrees"}
    bit(WEIGHTS)(seeds(own))
    out, err = ran(own.parent, "verify", "runs", code=7)
    assert "1 agree, 1 disagree" in out
    assert f"1 of {len(told['findings']) - 6} checks disagree:" in err  # less what only --recompute checks
    assert "seed-0/weights.safetensors: weights: its SHA-256 is " in err


def test_what_is_nothing_of_ours_is_refused(tmp_path: Path) -> None:
    assert "holds no board, run or evaluation" in ran(tmp_path, "verify", ".", code=4).stderr
    assert "nowhere does not exist" in ran(tmp_path, "verify", "nowhere", code=4).stderr


def test_a_run_that_is_not_finished_says_so(own: Path) -> None:
    run = seeds(own)[0]
    (run.folder / "train.json").unlink()
    assert ("training", "it is not finished") in {(each.what, each.found) for each in verified(run.folder)}
