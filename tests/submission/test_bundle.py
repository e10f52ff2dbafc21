"""`robench submit`: the bundle of a finished plan, what it says, which seed it is, and what cannot be submitted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import submission_runs as made
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from robench_fire.data.batches import to_float
from robench_fire.datasets import cifar10
from robench_fire.errors import UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.model_source import source_of
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.runs import folders
from robench_fire.runs.folders import Run, read_json
from robench_fire.submission.bundle import read
from robench_fire.submission.checks.check import entry_for
from robench_fire.submission.claims.claim import MEDIAN, ONLY, ZERO, Claim, admissible, choose
from robench_fire.submission.claims.from_runs import claimed, default_name
from robench_fire.submission.texts import drive_id
from robench_fire.submission.zoo_entry import ZooEntry, registered
from robench_fire.tables import schema
from robench_fire.tables.rows import collect

INFO = f"model_info/cifar10/Linf/{made.NAME}.json"
AA = f"eval.aa-Linf-8_255-{made.TEST}"
FOOTNOTE = r"Uses \(\ell_{\infty} \) = 0.031 ≈ 7.9/255 instead of 8/255."  # as RobustBench's files have it
TEXTS = ("ISSUE.md", "MODEL_CARD.md", "CHECKLIST.md", "leaderboard_row.html", "readme_row.md", "table.tex", "refs.bib")
CHECKS = [
    "files", "claim", "evaluation", "seed", "checkpoint", "log", "architecture", "documents",
    "robustbench.utils.load_model", "eval mode", "deterministic forward pass",
    "non-zero gradients with respect to the input", "no optimisation loop at inference", "returns logits",
    "clean accuracy by RobustBench", "perturbed images are in the threat model",
    "robust accuracy on them by RobustBench", "images claimed robust stand", "robustbench.eval.benchmark",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _cut() -> Iterator[None]:
    with made.cut():
        yield


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.finished(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.written(tmp_path_factory.getbasetemp())


@pytest.fixture
def own(plan: Path, tmp_path: Path) -> Path:
    """A copy of the plan's folder that a test may break."""
    return made.copied(plan, tmp_path / "runs" / "cifar10" / "Linf" / "fire" / plan.name)


def facts_of(plan: Path, seed: int) -> dict[str, Any]:
    return read_json(plan / f"seed-{seed}" / f"{AA}.json")


def edit(folder: Path, name: str, **values: Any) -> None:
    """Change a JSON of every seed below ``folder``, or of the one that it is; a value of None removes its key."""
    found = [folder / name] if (folder / name).exists() else sorted(folder.glob(f"seed-*/{name}"))
    assert found
    for path in found:
        changed = read_json(path) | values
        path.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}))


def claim(folder: Path, seed: str = "", synthetic: bool = False) -> Claim:
    return claimed(
        folders.find(folder), seed=seed, eps="", name=made.NAME, link="", synthetic=synthetic, images=made.TEST
    )


def entry(bundle: Path) -> ZooEntry:
    return entry_for(read(bundle), cifar10.DATASET)


def validated(folder: Path, *values: float) -> None:
    """Let the last epoch's robust accuracy on the validation images be these, by seed."""
    for run, value in zip(folders.find(folder), values, strict=True):
        rows = [json.loads(line) for line in (run.folder / "curve.jsonl").read_text().splitlines()]
        run.write_curve([*rows[:-1], rows[-1] | {"robust": value}])


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


def test_the_claim_is_the_seeds_own_and_not_the_mean(own: Path) -> None:
    edit(own / "seed-3", f"{AA}.json", clean=99.0, robust=0.0)
    mean = collect(own)[0].over_seeds("clean").mean
    info = claim(own).model_info()
    assert info["clean_acc"] == f"{facts_of(own, 0)['clean']:.2f}" != f"{mean:.2f}"
    assert info["autoattack_acc"] == f"{facts_of(own, 0)['robust']:.2f}"


def test_reported_is_the_papers_figure_for_its_network(own: Path) -> None:
    for name in ("plan.json", "provenance.json"):
        for path in own.glob(f"seed-*/{name}"):
            path.write_text(path.read_text().replace("wrn-10-1", "wrn-34-10"))
    assert claim(own).model_info()["reported"] == "51.45"


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


def extra(folder: Path, images: int, source: str = "file") -> None:
    """As training with a file of extra images leaves it."""
    for run in folders.find(folder):
        plan = run.read("plan.json")
        mixed = {"kind": "Extra", "source": source, "sha256": "0", "hidden": 0.5, "share": 0.5}
        run.write("plan.json", plan | {"recipe": plan["recipe"] | {"extra": mixed}})
        run.write("train.json", run.read("train.json") | {"extra_images": images})


def test_hidden_labels_are_said_in_the_name_and_in_the_footnote(own: Path) -> None:
    extra(own, 10, "hidden")
    assert default_name(folders.find(own)) == f"{made.NAME}_hidden"
    info = claim(own).model_info()
    assert info["additional_data"] is False
    assert info["footnote"].startswith("No extra data: the labels of 50% of the training images were hidden")


@pytest.mark.parametrize(("images", "said"), [(1_000_000, "1M"), (500_000, "500K"), (1_500_000, "1.5M")])
def test_extra_images_are_additional_data_unless_they_are_synthetic(own: Path, images: int, said: str) -> None:
    with pytest.raises(UsageError, match="--synthetic is about extra data, and this plan has none"):
        admissible(claim(own, synthetic=True))
    extra(own, images)
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
    for each in folders.find(own):
        told = each.read("plan.json")
        each.write("plan.json", told | {"recipe": told["recipe"] | {"select": "validation"}})
    assert claim(own).validation[2] == 60
    run.write_curve([{"clean": clean} for clean in (70.0, 90.0, 80.0)])  # trained without an attack
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
