"""`robench submit`: the bundle of a finished plan, and what it says."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import submission_runs as made
import torch
from bundle_claims import AA, INFO, facts_of
from safetensors.torch import load_file

from robench_fire.boards import schema
from robench_fire.boards.rows import collect
from robench_fire.data.batches import to_float
from robench_fire.datasets import cifar10
from robench_fire.errors import UsageError
from robench_fire.runs.folders import Run, read_json
from robench_fire.runs.model_source import source_of
from robench_fire.submission.bundle import read
from robench_fire.submission.checks.check import entry_for
from robench_fire.submission.claims.claim import ZERO
from robench_fire.submission.texts import drive_id
from robench_fire.submission.zoo_entry import ZooEntry, registered

pytestmark = pytest.mark.slow

TEXTS = ("ISSUE.md", "MODEL_CARD.md", "CHECKLIST.md", "leaderboard_row.html", "readme_row.md", "table.tex", "refs.bib")


CHECKS = [
    "files", "claim", "evaluation", "seed", "checkpoint", "log", "architecture", "documents",
    "robustbench.utils.load_model", "eval mode", "deterministic forward pass",
    "non-zero gradients with respect to the input", "no optimisation loop at inference", "returns logits",
    "clean accuracy by RobustBench", "perturbed images are in the threat model",
    "robust accuracy on them by RobustBench", "images claimed robust stand", "robustbench.eval.benchmark",
]  # fmt: skip


def entry(bundle: Path) -> ZooEntry:
    return entry_for(read(bundle), cifar10.DATASET)


def test_everything_that_was_asked_for_is_there_and_holds(bundle: Path) -> None:
    found = made.checked(bundle)
    assert [each.name for each in found] == CHECKS
    assert all(each.passed for each in found)
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert files == {*made.FILES, "SHA256SUMS"}
    said = read_json(bundle / "evidence" / "robustbench_check.json")
    assert said["passed"] is True
    assert [each["name"] for each in said["checks"]] == CHECKS
    assert read_json(bundle / "evidence" / "admission.json")["passed"] is True


def test_sha256sum_agrees(bundle: Path) -> None:
    lines = [line.split("  ", 1) for line in (bundle / "SHA256SUMS").read_text().splitlines()]
    assert len(lines) == len({path for _, path in lines}) == sum(path.is_file() for path in bundle.rglob("*")) - 1
    for digest, path in lines:
        assert hashlib.sha256((bundle / path).read_bytes()).hexdigest() == digest, path


def test_model_info_is_robustbenchs_and_of_this_seed(bundle: Path, plan: Path) -> None:
    info, facts = read_json(bundle / INFO), facts_of(plan, 0)
    assert schema.problems(info, made.NAME) == []
    assert set(info) == {
        "link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue", "architecture",
        "eps", "clean_acc", "reported", "autoattack_acc", "unreliable",
    }  # fmt: skip
    assert (info["clean_acc"], info["autoattack_acc"]) == (f"{facts['clean']:.2f}", f"{facts['robust']:.2f}")
    assert (info["dataset"], info["eps"], info["architecture"]) == ("cifar10", "8/255", "WideResNet-10-1")
    assert (info["additional_data"], info["number_forward_passes"], info["unreliable"]) == (False, 1, False)
    assert info["reported"] == info["autoattack_acc"]  # the paper has no figure for this network


def test_the_patch_applies_to_robustbenchs_own_file(bundle: Path, tmp_path: Path) -> None:
    assert "+++ b/robustbench/model_zoo/cifar10.py" in (bundle / "zoo_entry.patch").read_text()
    before, after = made.patched(bundle / "zoo_entry.patch", tmp_path / "clone")
    assert after == entry(bundle).added(before)
    entered = rf"^linf = OrderedDict\(\s*\[\n( *\('{made.NAME}', {{\n(.+\n){{2}} *}}\),\n)"
    added = re.search(entered, after, re.MULTILINE)
    assert added is not None
    assert after.replace(added[1], "") == before
    assert "'model': lambda: WideResNet(depth=10, widen_factor=1, sub_block1=False)," in added[1]


def test_checkpoints_are_what_was_evaluated(bundle: Path, plan: Path, tmp_path: Path) -> None:
    from robustbench.utils import load_model

    stored = bundle / "checkpoint" / f"{made.NAME}.safetensors"
    assert stored.read_bytes() == (plan / "seed-0" / "weights.safetensors").read_bytes()
    flat, weights = torch.load(bundle / "checkpoint" / f"{made.NAME}.pt", weights_only=True), load_file(stored)
    assert type(flat) is dict
    assert set(flat) == set(weights)
    assert all(torch.equal(flat[name], value) for name, value in weights.items())
    assert {value.dtype for name, value in flat.items() if not name.endswith("num_batches_tracked")} == {torch.float32}
    place = tmp_path / "cifar10" / "Linf" / f"{made.NAME}.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes((bundle / "checkpoint" / place.name).read_bytes())
    with registered(entry(bundle)):
        model = load_model(made.NAME, model_dir=tmp_path, dataset="cifar10", threat_model="Linf")
    x = to_float(made.splits().test.images)
    with torch.no_grad():
        assert torch.equal(model(x), source_of(Run(plan / "seed-0")).load(made.CPU)(x))


def test_perturbed_images_are_of_the_whole_test_set(bundle: Path) -> None:
    x, x_adv = to_float(made.splits().test.images), torch.load(bundle / "evidence" / "adv_examples.pt")
    clean, robust = np.load(bundle / "evidence" / "masks.npy")
    assert x_adv.shape == x.shape
    assert x_adv.dtype == torch.float32
    moved = (x_adv - x).abs().flatten(1).amax(1)
    assert (moved.numpy() > 0).tolist() == (clean & ~robust).tolist()
    assert 0.02 < float(moved.max()) <= 8 / 255 + 1e-6


def test_provenance_says_where_everything_comes_from(bundle: Path, plan: Path) -> None:
    for name in ("plan.json", "train.json", "curve.jsonl"):
        assert (bundle / "provenance" / name).read_bytes() == (plan / "seed-0" / name).read_bytes()
    told, rows = read_json(bundle / "provenance" / "seeds.json"), collect(plan)
    assert (told["submitted"], told["rule"]) == (0, ZERO)
    assert {int(seed) for seed in told["seeds"]} == {0, 1, 2, 3, 4}
    for seed, each in told["seeds"].items():
        facts, last = facts_of(plan, int(seed)), (plan / f"seed-{seed}" / "curve.jsonl").read_text().splitlines()[-1]
        assert (each["clean"], each["robust"]) == (facts["clean"], facts["robust"])
        assert (each["weights_sha256"], each["verdict"]) == (facts["weights_sha256"], "reliable")
        assert each["validation_robust"] == json.loads(last)["robust"]
    assert told["mean"]["robust"] == rows[0].over_seeds("robust").mean
    assert told["std"]["clean"] == rows[0].over_seeds("clean").std
    sums = (bundle / "provenance" / "data_checksums.txt").read_text()
    assert "803d5f7f4d78ea53de84dbe85f74fb6d  cifar-10-batches-bin/test_batch.bin" in sums
    assert facts_of(plan, 0)["images_sha256"] in sums


def test_the_issue_has_every_field_of_robustbenchs_template(bundle: Path) -> None:
    info = read_json(bundle / INFO)
    said = dict(re.findall(r"^- \*\*(.+?)\*\*: (.+)$", (bundle / "ISSUE.md").read_text(), re.MULTILINE))
    expected = {
        "Paper Title": info["name"], "Paper URL": info["link"], "Paper authors": info["authors"],
        "Venue": info["venue"], "Model id": made.NAME, "Dataset": "cifar10", "Architecture": "WideResNet-10-1",
        "Threat Model": "Linf", "eps": "8/255", "Clean accuracy": f"{info['clean_acc']}%",
        "Robust accuracy": f"{info['autoattack_acc']}%", "Additional data": "false",
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected
    assert f"(apgd-ce, apgd-t, fab-t, square) on all {made.TEST} test images" in said["Evaluation method"]
    checkpoint = hashlib.sha256((bundle / "checkpoint" / f"{made.NAME}.pt").read_bytes()).hexdigest()
    assert said["Checkpoint's SHA-256"] == f"`{checkpoint}`"
    assert said["Code"].startswith("robench_fire ")
    assert "FILL IN" in said["Checkpoint and code"]
    assert "Footnote" not in said


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_has_a_hole(bundle: Path, name: str) -> None:
    text = (bundle / name).read_text()
    for hole in ("MeanStd(", "None", "{{ ", " }}", "{%", "%}", " nan", "Undefined"):
        assert hole not in text
    assert text.endswith("\n")
    known = {"refs.bib": "@article{Picot2021Adversarial,", "CHECKLIST.md": f"sha256sum {made.NAME}.pt"}
    assert known.get(name, read_json(bundle / INFO)["clean_acc"]) in text


def test_the_checklist_says_what_was_checked_and_what_is_left(bundle: Path) -> None:
    text = (bundle / "CHECKLIST.md").read_text()
    assert re.findall(r"^- \[x\] (.+?): ", text, re.MULTILINE) == CHECKS
    left = re.findall(r"^- \[ \] (.+)$", text, re.MULTILINE)
    assert len(left) == 7
    assert left[0].startswith("Upload")
    assert "FILL-IN" in text
    assert "FILL-IN" in (bundle / "zoo_entry.patch").read_text()


LINK = "https://drive.google.com/file/d/1AbCdEfGhIjKlMnOp/view"


def test_with_the_checkpoints_address_it_is_written_again(bundle: Path, plan: Path, tmp_path: Path) -> None:
    out = made.copied(bundle, tmp_path / "out")
    assert all(each.passed for each in made.submitted(plan, out, link=LINK))
    assert "'gdrive_id': '1AbCdEfGhIjKlMnOp'," in (out / "zoo_entry.patch").read_text()
    assert LINK in (out / "ISSUE.md").read_text()
    assert f"- [x] The checkpoint was uploaded: {LINK}" in (out / "CHECKLIST.md").read_text()
    assert not [path for path in out.rglob("*") if path.is_file() and b"FILL-IN" in path.read_bytes()]
    assert (out / "checkpoint" / f"{made.NAME}.pt").read_bytes() == (
        bundle / "checkpoint" / f"{made.NAME}.pt"
    ).read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["out"]
    assert all(each.passed for each in made.checked(out))


@pytest.mark.parametrize(
    ("link", "found"),
    [
        (LINK, "1AbCdEfGhIjKlMnOp"),
        ("https://drive.google.com/file/d/1AbCdEfGhIjKlMnOp", "1AbCdEfGhIjKlMnOp"),
        ("https://drive.google.com/open?id=1AbCdEfGhI-_lMnOp", "1AbCdEfGhI-_lMnOp"),
        ("https://drive.google.com/uc?export=download&id=1AbCdEfGhIjKlMnOp", "1AbCdEfGhIjKlMnOp"),
        ("https://docs.google.com/uc?id=1AbCdEfGhIjKlMnOp&confirm=t", "1AbCdEfGhIjKlMnOp"),
        ("https://huggingface.co/me/fire/resolve/main/checkpoint/x.pt", ""),
        ("https://example.org/?to=drive.google.com/file/d/1AbCdEfGhIjKlMnOp", ""),
        ("https://drive.google.com/drive/my-drive", ""),
        ("", ""),
    ],
)
def test_the_id_in_a_link_to_google_drive(link: str, found: str) -> None:
    assert drive_id(link) == found


@pytest.mark.parametrize("link", ["mine.pt", "ftp://example.org/x.pt", "https://a b", "https://", "x https://a.org"])
def test_a_link_is_an_address(plan: Path, tmp_path: Path, link: str) -> None:
    with pytest.raises(UsageError, match="expected the https:// address of the checkpoint"):
        made.submitted(plan, tmp_path / "out", link=link)


def test_what_is_not_a_bundle_is_not_replaced(plan: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    for path in (tmp_path / "thesis" / "thesis.tex", tmp_path / "file"):
        path.write_text("years of work")
    for out, said in (("thesis", "holds something that is not a bundle"), ("file", "is a file; choose a folder")):
        with pytest.raises(UsageError, match=said):
            made.submitted(plan, tmp_path / out)
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == (tmp_path / "file").read_text() == "years of work"


@pytest.mark.parametrize("path", ["thesis.tex", "ISSUE.md", "evidence/masks.npy"])
def test_what_was_put_into_a_bundle_is_not_lost(bundle: Path, plan: Path, tmp_path: Path, path: str) -> None:
    out = made.copied(bundle, tmp_path / "out")
    (out / path).write_text("years of work")
    with pytest.raises(UsageError, match=rf"holds files that were edited or added \({path}\); move the folder away"):
        made.submitted(plan, out)
    assert (out / path).read_text() == "years of work"


def test_a_bundle_that_fails_lies_beside_the_older_one(bundle: Path, own: Path, tmp_path: Path) -> None:
    out = made.copied(bundle, tmp_path / "out")
    before = (out / "SHA256SUMS").read_text()
    log = own / "seed-0" / f"{AA}.log"
    log.write_text(log.read_text().replace("initial accuracy", "accuracy"))
    assert {each.name for each in made.submitted(own, out) if not each.passed} == {"log"}
    assert (out / "SHA256SUMS").read_text() == before
    failed = tmp_path / "out.failed"
    assert read_json(failed / made.CHECKED)["passed"] is False
    assert "- [ ] log: it does not say 'initial accuracy: " in (failed / "CHECKLIST.md").read_text()
