"""`robench submit` on the command line: what is refused, with which reason and exit code; the check."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bundle_edits as edits
import pytest
import submission_runs as made
import torch
from command_line import robench
from safetensors.torch import load_file, save_file

from robench_fire.errors import DataError
from robench_fire.files import sealed, write_json
from robench_fire.runs.folders import PLAN, read_json
from robench_fire.statistics.summary import wilson
from robench_fire.submission.push import push

pytestmark = pytest.mark.slow

AA = f"eval.aa-Linf-8_255-{made.TEST}"


Break = Callable[[Path], object]


def changed(folder: Path, files: str, **values: Any) -> None:
    """Change values in JSON files below ``folder``; None removes a key."""
    found = sorted(folder.glob(files))
    assert found
    for path in found:
        told = {key: value for key, value in (read_json(path) | values).items() if value is not None}
        write_json(path, told if path.name == PLAN else sealed(told))


def removed(folder: Path, files: str) -> None:
    found = sorted(folder.glob(files))
    assert found
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def another_plan(folder: Path) -> None:
    made.copied(folder, folder.with_name("0123456789ab"))


def retrained(folder: Path) -> None:
    """Weights that were not evaluated."""
    path = folder / "seed-0" / "weights.safetensors"
    save_file(load_file(path) | {"fc.bias": torch.zeros(10)}, path)


def edit(files: str, **values: Any) -> Break:
    return partial(changed, files=files, **values)


def gone(files: str) -> Break:
    return partial(removed, files=files)


def judged(seed: int, verdict: str, reason: str) -> Break:
    """Another verdict, which saw the same seeds."""

    def change(folder: Path) -> None:
        told = json.loads((folder / f"seed-{seed}" / f"{AA}.json").read_text())["reliability"]
        changed(folder, f"seed-{seed}/{AA}.json", reliability=told | {"verdict": verdict, "reasons": [reason]})

    return change


def as_is(folder: Path) -> None:
    pass


L2 = {"kind": "L2", "eps": "0.5"}


REFUSED: list[tuple[str, Break, str, int, str]] = [
    ("unfinished", gone("seed-*/train.json"), "", 4, r"no seed is trained yet: seed 0 \(4 of 4 .*` continues"),
    ("without weights", gone("seed-0/weights.safetensors"), "", 4, r"seed-0/weights\.safetensors is not here: bring"),
    ("four seeds", gone("seed-4"), "", 4, r"not all judged with all trained seeds .*` judges them"),
    ("no attack", gone("seed-*/eval.*"), "", 4, r"no AutoAttack result at eps 8/255; `robench eval .* --attack aa"),
    ("only PGD", edit(f"seed-*/{AA}.json", attack="pgd20"), "", 4, "there is no AutoAttack result at eps 8/255"),
    ("not attacked", gone(f"seed-0/{AA}.json"), "", 4, r"no AutoAttack result at .*; `robench eval \S+seed-0 --at"),
    ("other weights attacked", edit(f"seed-0/{AA}.json", weights_sha256="0"), "", 4, "no AutoAttack result at eps"),
    ("fewer images", edit(f"seed-*/{AA}.json", examples=11), "", 4, r"run on 11 of the 12 test images; .* wants all"),
    ("unreliable", judged(2, "unreliable", "zero gradients"), "", 6, r"not reliable \(seed 2: zero gradients\)"),
    ("not judged", edit(f"seed-2/{AA}.json", reliability=None), "", 4, r"not all judged .*; `robench eval "),
    ("unknown", judged(0, "unknown", "only 19 %"), "", 6, r"not reliable \(seed 0: only 19 %"),
    ("no images", gone(f"seed-0/{AA}.adv.safetensors"), "", 4, r"\.adv\.safetensors is missing; .* evaluate again"),
    ("no masks", gone(f"seed-0/{AA}.npy"), "", 4, r"\.npy is missing; move eval\S+ away and evaluate the run again"),
    ("no log", gone(f"seed-0/{AA}.log"), "", 4, r"\.log is missing; move eval\S+ away and evaluate the run again"),
    ("other masks", lambda folder: edits.flipped(folder / "seed-0" / f"{AA}.npy", 1), "", 4, "other images than were"),
    ("other weights", retrained, "", 4, r"weights\.safetensors is not what was evaluated"),
    ("digits", edit("seed-*/plan.json", dataset="digits"), "", 2, "no board for digits Linf .* `robench table` prints"),
    ("MNIST", edit("seed-*/plan.json", dataset="mnist"), "", 2, "RobustBench has no board for mnist Linf"),
    ("no L2", edit("seed-*/plan.json", dataset="cifar100", claim=L2), "", 2, "has no board for cifar100 L2"),
    ("two plans", another_plan, "runs/cifar10", 2, r"runs/cifar10 holds 2 plans; name the folder of one plan"),
    ("no plan", gone("seed-*"), "", 2, "holds no run; name the folder of one plan, `robench ls runs` lists them"),
    ("no folder", as_is, "nowhere", 2, "nowhere holds no run"),
    ("4/255", as_is, "--eps 4/255", 2, "board is at 8/255; use --eps 8/255"),
    ("at 4/255", edit(f"seed-*/{AA}.json", eps="4/255"), "--eps 4/255", 2, "board is at 8/255; use --eps 8/255"),
    ("at 0.031", as_is, "--eps 0.031", 4, "there is no AutoAttack result at eps 0.031"),
    ("taken", as_is, "--name Carmon2019Unlabeled", 2, r"RobustBench already has Carmon2019Unlabeled; .*--name"),
    ("published", as_is, "--name Madry2018Towards", 2, r"RobustBench already has Madry2018Towards; .*--name"),
    ("synthetic", as_is, "--synthetic", 2, "--synthetic is about extra data, and this plan has none"),
    ("no name", as_is, "--name my-model", 2, "my-model is not a name like Picot2021Adversarial"),
    ("code", as_is, "--name A2020B':print(1),'", 2, "is not a name like Picot2021Adversarial"),
    ("by hand", as_is, "--seed 7", 2, r"--seed 7: choose \d .* or \d .* best one on the test images"),
    ("no device", as_is, "--device tpu", 2, "choose auto, cpu, cuda"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("break_it", "words", "code", "said"), [each[1:] for each in REFUSED], ids=[e[0] for e in REFUSED]
)
def test_what_cannot_be_submitted_is_refused_with_its_reason(
    own: Path, break_it: Break, words: str, code: int, said: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    break_it(own)
    given = words.split() if words and not words.startswith("--") else [str(own), *words.split()]
    assert robench("submit", *given, "-o", "out") == code
    message = capsys.readouterr().err
    assert re.search(said, " ".join(message.split())), message
    assert "Traceback" not in message
    assert "unexpected" not in message
    assert not (tmp_path / "out").exists()


def without_attack(folder: Path) -> None:
    """As training on clean images only leaves it: nothing is said of robust accuracy on the validation images."""
    for path in folder.glob("seed-*/curve.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({"epoch": row["epoch"], "clean": row["clean"]}) + "\n" for row in rows))


@pytest.mark.parametrize("break_it", [gone("seed-1/curve.jsonl"), without_attack], ids=["curve", "attack"])
def test_nothing_is_unexpected(own: Path, break_it: Break, capsys: pytest.CaptureFixture[str]) -> None:
    break_it(own)
    assert robench("submit", str(own), "--examples", "1", "-o", "out") in (0, 2, 4)
    assert "robench: unexpected" not in capsys.readouterr().err


@pytest.mark.parametrize("out", [".", "link", "dangling"])
def test_the_place_may_be_an_empty_folder_or_a_link(
    own: Path, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    if out != "dangling":
        place.mkdir()
    for name in ("link", "dangling"):
        (tmp_path / name).symlink_to(place)
    monkeypatch.chdir(place if out == "." else tmp_path)
    assert robench("submit", str(own), "--examples", "1", "-o", out) == 0
    monkeypatch.chdir(tmp_path)
    assert str(place / "CHECKLIST.md") in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "link").is_symlink()
    assert [each for each in made.checked(place) if not each.passed] == []
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == {"runs", "place", "link", "dangling"}


def test_what_lies_beside_the_bundle_is_not_lost(own: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out.failed" / "thesis.tex"
    mine.parent.mkdir()
    mine.write_text("years of work")
    (own / "seed-0" / f"{AA}.log").write_text("")
    assert robench("submit", str(own), "--examples", "1", "-o", "out") in (2, 7)
    assert mine.read_text() == "years of work"


def test_a_plan_becomes_a_bundle_that_can_be_checked(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(own.relative_to(tmp_path))
    assert robench("submit", folder, "--examples", "1", "--device", "cpu") == 0
    said = capsys.readouterr().out
    assert not re.search(" {2}no {2}", said)
    assert "everything holds; what is left to you is in" in said
    assert "clean accuracy by RobustBench" in said
    assert robench("submit", "--check", "submission", "--examples", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == 1
    assert all(each["passed"] for each in told["checks"])
    assert len(told["checks"]) == 19
    assert (tmp_path / told["folder"] / "CHECKLIST.md").exists()


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["table", "json"])
def test_a_bundle_that_does_not_hold_is_exit_7(
    bundle: Path, tmp_path: Path, words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    own = made.copied(bundle, tmp_path / "own")
    changed(own, "model_info/cifar10/Linf/*.json", clean_acc="99.00")
    edits.sum_up(own)
    assert robench("submit", "--check", str(own), "--examples", "1", *words) == 7
    said, file = capsys.readouterr(), f"model_info/cifar10/Linf/{made.NAME}.json"
    assert said.err.endswith(f"{own} cannot be submitted as it is:\n  documents: {file} is not what the claim gives\n")
    if words:
        assert [each["name"] for each in json.loads(said.out)["checks"] if not each["passed"]] == ["documents"]
    else:
        assert re.search(r"documents +no +model_info/", said.out)
        assert "everything holds" not in said.out


def test_what_a_bundle_says_is_shown_as_it_is(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = made.copied(bundle, tmp_path / "own")
    changed(own, "provenance/submission.json", name="[bold]mine[/red]")
    edits.sum_up(own)
    assert robench("submit", "--check", str(own)) == 7
    assert "[bold]mine[/red]" in "".join(capsys.readouterr().out.split())


def test_a_new_bundle_that_does_not_hold_can_be_looked_at(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One more image in the evaluation: its accuracies follow from its masks, but not from its weights."""
    clean, robust = edits.flipped(own / "seed-0" / f"{AA}.npy", 2)
    log = own / "seed-0" / f"{AA}.log"
    facts = json.loads((own / "seed-0" / f"{AA}.json").read_text())
    after = dict.fromkeys(facts["after"], robust)
    text = re.sub(r"(initial accuracy: )[\d.]+%", rf"\g<1>{clean:.2f}%", log.read_text())
    log.write_text(re.sub(r"(robust accuracy.*: )[\d.]+%", rf"\g<1>{robust:.2f}%", text))
    interval = list(wilson(round(robust * made.TEST / 100), made.TEST))
    changed(own, f"seed-0/{AA}.json", clean=clean, robust=robust, after=after, robust_interval=interval)
    assert robench("submit", str(own), "--examples", "1", "-o", "out") == 7
    said = capsys.readouterr().err
    assert "out.failed cannot be submitted as it is:\n  clean accuracy by RobustBench: " in said
    assert not (tmp_path / "out").exists()
    checklist = (tmp_path / "out.failed" / "CHECKLIST.md").read_text()
    assert "- [ ] clean accuracy by RobustBench: " in checklist
    assert "- [x] evaluation: " in checklist
    assert json.loads((tmp_path / "out.failed" / made.CHECKED).read_text())["passed"] is False
    with pytest.raises(DataError, match=r"out\.failed did not pass its check; `robench submit --check "):
        push(tmp_path / "out.failed", "hf:me/fire", True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "name a run's folder"),
        ("RUN --check DIR", "name a run's folder"),
        ("RUN --dry-run", "--dry-run lists what --push would upload"),
        ("--check DIR --push hf:me/it", "--push uploads a bundle"),
        ("--check DIR --eps 0.031 --name A2020B", "--eps, --name: said when a bundle is written; leave out --check"),
        ("RUN --push hf:me/it --link https://a.org --synthetic", "--link, --synthetic: said when a bundle is written"),
        ("RUN --link mine.pt", "--link mine.pt: expected the https:// address of the checkpoint"),
        ("RUN --push s3:me/it", "--push s3:me/it: expected hf:USER/REPO"),
        ("RUN -o afile", "/afile is a file; choose a folder"),
        ("RUN -o afolder", "/afolder holds something that is not a bundle"),
        ("RUN --examples 0", "Invalid value"),
    ],
)
def test_words_that_do_not_go_together(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    (tmp_path / "afolder").mkdir()
    (tmp_path / "afolder" / "mine").touch()
    assert robench("submit", *words.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["nowhere", "afile", "empty"])
def test_what_is_no_bundle_cannot_be_checked(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    (tmp_path / "empty").mkdir()
    assert robench("submit", "--check", folder) == 7
    assert f"files: {folder} is not a bundle: it has no SHA256SUMS; `robench submit RUN" in capsys.readouterr().err
