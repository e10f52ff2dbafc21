"""`robench submit --check`: what is missing or damaged is named, and nothing in a bundle is executed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bundle_edits as edits
import numpy as np
import pytest
import submission_runs as made
import torch
from bundle_checks import (
    ADV,
    INSIDE,
    ISSUE,
    MASKS,
    OURS,
    PATCH,
    PLAN,
    PT,
    ROW,
    SUMMARY,
    byte,
    failed,
    tensors,
    text,
    told,
)
from torch import Tensor, nn

from robench_fire.datasets import cifar10
from robench_fire.errors import RobenchError
from robench_fire.models.names import display_name
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs.folders import read_json
from robench_fire.submission import zoo_entry
from robench_fire.submission.bundle import read
from robench_fire.submission.checks import check
from robench_fire.submission.checks.admission import admission
from robench_fire.submission.checks.check import entry_for

pytestmark = pytest.mark.slow

PEOPLES = ("ISSUE.md", "MODEL_CARD.md", "CHECKLIST.md")


class Partly(nn.Module):
    """Logits that depend on the dark pixels of bright images only."""

    def forward(self, x: Tensor) -> Tensor:
        bright = (x.flatten(1).mean(1) > 0.5)[:, None, None, None]
        return torch.where(bright, x, x.round()).flatten(1)[:, :10]


@pytest.mark.parametrize(("bright", "passed"), [(0, False), (30, False), (31, True), (60, True)])
def test_gradients_are_counted_in_parts(bright: int, passed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 images in parts of 25, and of no more than the first 60."""
    monkeypatch.setattr("robench_fire.submission.checks.admission.IMAGES", 60)
    x = torch.rand(70, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.2
    x[torch.randperm(60)[:bright]] += 0.5
    found = {each.name: each for each in admission(Partly().eval(), x, torch.zeros(70, dtype=torch.long))}
    slope = found["non-zero gradients with respect to the input"]
    assert slope.passed is passed
    assert f" {bright / 60:.1%} of 60 images" in slope.found


@pytest.mark.parametrize("path", made.FILES)
@pytest.mark.parametrize("what", ["missing", "changed"])
def test_a_file_that_is_missing_or_changed_is_named(
    own_bundle: Path, path: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_by_robustbench", lambda *_: [])  # which takes the longest, and finds other things
    (own_bundle / path).unlink() if what == "missing" else byte(path, 0.4)(own_bundle)
    found = failed(own_bundle)
    if what == "missing":
        assert found == {"files": f"missing: {path}"}
    elif path in PEOPLES:
        assert "files" not in found
    else:
        assert found["files"] == f"changed or unknown, by SHA-256: {path}"


@pytest.mark.parametrize("path", [path for path in made.FILES if path != made.CHECKED])
def test_a_file_that_is_missing_from_the_hashes_too_is_named(own_bundle: Path, path: str) -> None:
    (own_bundle / path).unlink()
    edits.sum_up(own_bundle)
    assert Path(path).name in " ".join(failed(own_bundle).values())


def test_a_file_more_has_no_hash(own_bundle: Path) -> None:
    (own_bundle / "evidence" / "notes.txt").touch()
    assert failed(own_bundle) == {
        "files": "changed or unknown, by SHA-256: evidence/notes.txt",
        "documents": "evidence/notes.txt is not a bundle's",
    }


def test_everything_that_fails_is_listed(own_bundle: Path) -> None:
    for break_it in (byte(PT, 0.5), told(SUMMARY, "robust", value=99.0), tensors(ADV, edits.outside)):
        break_it(own_bundle)
    found = failed(own_bundle)
    assert found["files"] == f"changed or unknown, by SHA-256: {PT}, {SUMMARY}, {ADV}"
    assert {"files", "evaluation", "checkpoint", "log", "documents", INSIDE} <= set(found)


def test_a_person_completes_the_texts(own_bundle: Path) -> None:
    text(ISSUE, "- [ ] I agree", "- [x] I agree")(own_bundle)
    text(ISSUE, "(FILL IN: where this folder was uploaded)", "https://example.org/bundle")(own_bundle)
    for name in PEOPLES:
        (own_bundle / name).write_text((own_bundle / name).read_text() + "\nAn afterthought.\n")
    assert failed(own_bundle) == {}
    text("CHECKLIST.md", "- [ ] Upload", "- [x] Upload")(own_bundle)
    assert failed(own_bundle) == {}


def test_another_robustbench_compares_only_what_the_patch_adds(own_bundle: Path) -> None:
    text(PATCH, " linf = OrderedDict(", " linf = OrderedDict(  # since 9.0")(own_bundle)
    text(PATCH, "@@ -402,6 +402,10 @@", "@@ -502,6 +502,10 @@")(own_bundle)
    text("readme_row.md", "<sub>", "<sub><b>")(own_bundle)
    told(made.CHECKED, "robustbench", value="9.0")(own_bundle)
    text("CHECKLIST.md", f"RobustBench {version('robustbench')}'s", "RobustBench 9.0's")(own_bundle)
    edits.sum_up(own_bundle)
    (documents,) = [each for each in made.checked(own_bundle) if each.name == "documents"]
    assert documents.passed
    assert "(made with robustbench 9.0, this is 1." in documents.found


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"no hashes\n"])
def test_without_hashes_it_is_no_bundle(own_bundle: Path, content: bytes | None) -> None:
    (own_bundle / "SHA256SUMS").unlink()
    if content is not None:
        (own_bundle / "SHA256SUMS").write_bytes(content)
    assert set(failed(own_bundle)) == {"files"}


class Touches:
    """Unpickled, it touches a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("path", [PT, ADV, MASKS])
@pytest.mark.parametrize("how", ["torch", "pickle", "numpy"])
def test_code_in_a_pickle_is_not_executed(own_bundle: Path, tmp_path: Path, path: str, how: str) -> None:
    mark = tmp_path / "mark"
    if how == "torch":
        torch.save({"fc.bias": Touches(mark)}, own_bundle / path)
    elif how == "pickle":
        (own_bundle / path).write_bytes(pickle.dumps(Touches(mark)))
    else:
        with open(own_bundle / path, "wb") as file:
            np.save(file, np.array([Touches(mark)], dtype=object))
    edits.sum_up(own_bundle)
    assert failed(own_bundle)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'model': lambda: WideResNet(depth=10,", "'model': lambda: {code} or WideResNet(depth=10,"),
        ("('Picot2021Adversarial', {{", "{code} or ('Picot2021Adversarial', {{"),
        ("'gdrive_id': 'FILL-IN-AFTER-UPLOAD'", "'gdrive_id': 'a' + {code}"),
    ],
)
def test_code_in_the_patch_is_not_executed(own_bundle: Path, tmp_path: Path, old: str, new: str) -> None:
    mark = tmp_path / "mark"
    text(PATCH, old.replace("{{", "{"), new.format(code=f"__import__('pathlib').Path('{mark}').touch()"))(own_bundle)
    edits.sum_up(own_bundle)
    assert failed(own_bundle) == {"documents": f"{PATCH} adds something else than the entry"}
    assert not mark.exists()


def fingerprinted(bundle: Path) -> None:
    """The row has the fingerprint of its plan, as whoever changes it would see to."""
    told(ROW, OURS, "fingerprint", value=plan_fingerprint(read_json(bundle / ROW)[OURS]["plan"]))(bundle)


@pytest.mark.parametrize(
    "arch",
    [
        "timm/resnet18') if {code} is None else timm.create_model('resnet18",
        "timm/resnet18'), 'more': {code}, 'most': str('",
        "wrn-10-1' + {code} + '",
        "wrn-10-1\n{code}",
    ],
)
@pytest.mark.parametrize("forge", [False, True])
def test_code_in_the_plan_is_not_executed(own_bundle: Path, tmp_path: Path, arch: str, forge: bool) -> None:
    """Also where everything else fits it, as whoever wants it executed would write it."""
    mark = tmp_path / "mark"
    name = arch.format(code=f"open('{mark}', 'w')")
    for path, keys in ((PLAN, ()), (ROW, (OURS, "plan"))):
        told(path, *keys, "recipe", "arch", value=name)(own_bundle)
    told(ROW, "architecture", value=display_name(name))(own_bundle)
    fingerprinted(own_bundle)
    with pytest.MonkeyPatch.context() as patch:  # a forger's own_bundle package checks nothing
        patch.setattr(zoo_entry, "builder", lambda arch, shape: None)
        with suppress(RobenchError):
            (own_bundle / PATCH).write_text(entry_for(read(own_bundle), cifar10.DATASET).patch() if forge else "")
    edits.sum_up(own_bundle)
    found = failed(own_bundle)
    assert set(found) == {"claim"}
    assert "architecture" in found["claim"] or "timm" in found["claim"]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("recipe", "normalise"), "image' + open('mark', 'w') + '"),
        (("recipe", "normalise"), None),
        (("recipe",), {"arch": "wrn-10-1"}),
        (("recipe",), {"arch": "wrn-10-1", "extra": None}),
        (("recipe", "arch"), None),
        (("dataset",), "../cifar10"),
        (("dataset",), "os"),
    ],
)
def test_a_plan_that_is_none_is_refused(own_bundle: Path, keys: tuple[str, ...], value: Any) -> None:
    told(ROW, OURS, "plan", *keys, value=value)(own_bundle)
    fingerprinted(own_bundle)
    told(ROW, keys[0], value=value)(own_bundle) if keys == ("dataset",) else None
    edits.sum_up(own_bundle)
    assert set(failed(own_bundle)) == {"claim"}
