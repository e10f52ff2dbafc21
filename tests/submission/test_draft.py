"""`robench submit`: one seed is enough, and a draft shows the bundle before anything else is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import bundle_edits as edits
import pytest
import submission_runs as made
from command_line import robench

from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.files import sha256
from robench_fire.runs.folders import Run, read_json
from robench_fire.runs.model_source import source_of
from robench_fire.submission.bundle import read
from robench_fire.submission.claims.claim import ONLY
from robench_fire.submission.push import push

pytestmark = pytest.mark.slow

FEW = 8
UNMARKED = {"SHA256SUMS", "provenance/curve.jsonl"}  # read line by line by others
BENCHMARK, PERTURBED = "robustbench.eval.benchmark", "perturbed images are in the threat model"


@pytest.fixture
def own(plan: Path, tmp_path: Path) -> Path:
    """The folder of a plan of which only seed 0 is trained, and nothing evaluated."""
    target = tmp_path / "runs" / "cifar10" / "Linf" / "fire" / plan.name
    shutil.copytree(plan / "seed-0", target / "seed-0", ignore=shutil.ignore_patterns("eval.*"))
    return target


KEPT: dict[tuple[object, ...], dict[str, bytes]] = {}
"""The files of each evaluation that was asked for, which is made once."""


def evaluated(plan: Path, attack: str = "aa", eps: str = "8/255", images: int = FEW, judge: bool = True) -> Path:
    seed, key = plan / "seed-0", (sha256(plan / "seed-0" / "weights.safetensors"), attack, eps, images, judge)
    if key not in KEPT:
        wanted = Evaluations(attacks=(attack,), eps=(eps,), examples=images)
        with TemporaryDirectory() as folder:
            run = Run(made.copied(seed, Path(folder) / "seed-0"))
            evaluate_source(source_of(run), made.splits().test, wanted, made.CPU, made.quiet, judge=judge)
            KEPT[key] = {path.name: path.read_bytes() for path in run.folder.glob("eval.*")}
    for name, content in KEPT[key].items():
        (seed / name).write_bytes(content)
    return plan


def drafted(plan: Path, out: Path) -> list[str]:
    """The checks of a draft, all of which pass."""
    found = made.submitted(plan, out, draft=True)
    assert [each for each in found if not each.passed] == []
    return [each.name for each in found]


def lost_images(plan: Path) -> None:
    for path in evaluated(plan, images=made.TEST).glob("seed-0/*.adv.safetensors"):
        path.unlink()


KINDS = {
    "few images": (evaluated, "AutoAttack was run on 8 of the 12 test images", "AutoAttack at eps 8/255 on 8 images"),
    "PGD-20": (lambda plan: evaluated(plan, "pgd20"), "there is no AutoAttack result at eps 8/255; there is PGD-20",
               "PGD-20 at eps 8/255 on 8 images"),
    "radius": (lambda plan: evaluated(plan, eps="4/255"), "there is no AutoAttack result at eps 8/255; there is Auto",
               "AutoAttack at eps 4/255 on 8 images"),
    "no verdict": (lambda plan: evaluated(plan, images=made.TEST, judge=False), "AutoAttack's results were not all jud",
                   "AutoAttack at eps 8/255 on 12 images"),
    "lost images": (lost_images, ".adv.safetensors is missing", "AutoAttack at eps 8/255 on 12 images"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_draft_is_made_of_what_is_there_and_says_what_is_missing(own: Path, tmp_path: Path, kind: str) -> None:
    make, missing, measured = KINDS[kind]
    make(own)
    with pytest.raises(DataError, match=r"cannot be submitted yet:\n(.|\n)*--draft makes the bundle from") as fault:
        made.submitted(own, tmp_path / "out")
    assert missing in str(fault.value)
    assert not (tmp_path / "out").exists()
    names = drafted(own, tmp_path / "out")
    assert "claim, as a draft" in names
    assert BENCHMARK not in names
    assert (PERTURBED in names) == (kind not in ("PGD-20", "lost images"))
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for name in {each for each in files if Path(each).suffix not in (".pt", ".safetensors", ".npy")} - UNMARKED:
        text = (tmp_path / "out" / name).read_text()
        assert "DRAFT" in text or '"draft"' in text, name
        assert missing in text or name == "provenance/row.json", name
    said = {each.name: each.found for each in made.checked(tmp_path / "out")}
    assert said["evaluation"] == f"{measured}, as the masks"
    assert missing in said["claim, as a draft"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "on 8 of the 12",
            "on 11 of the 12",
            "missing lacks 'AutoAttack was run on 8 of the 12 test images'; what is",
        ),
        (
            "the result is not known to be reliable",
            "the result is reliable",
            "missing lacks 'the result is not known to",
        ),
    ],
)
def test_a_draft_that_lacks_more_than_it_says_is_found(
    own: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    drafted(evaluated(own, judge=False), tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in (".json", ".md", ".tex", ".bib", ".patch", ".txt", ".log", ".html"):
            path.write_text(path.read_text().replace(old, new))
    edits.sum_up(tmp_path / "out")
    found = {each.name: each.found for each in made.checked(tmp_path / "out") if not each.passed}
    assert said in found["evaluation"]


def test_everything_that_is_missing_is_said_at_once(own: Path, tmp_path: Path) -> None:
    evaluated(own, judge=False)
    for path in own.glob("seed-0/*.adv.safetensors"):
        path.unlink()
    with pytest.raises(DataError) as fault:
        made.submitted(own, tmp_path / "out")
    first, *lines, draft = str(fault.value).splitlines()
    assert (first, len(lines)) == ("it cannot be submitted yet:", 3)
    assert all(f"robench eval {own}" in line for line in lines)
    assert draft.startswith("--draft makes the bundle")


def test_without_any_evaluation_it_says_what_a_draft_needs(own: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no AutoAttack result at eps 8/255; `robench .*\n--draft needs some"):
        made.submitted(own, tmp_path / "out", draft=True)


def test_a_drafts_patch_applies(own: Path, tmp_path: Path) -> None:
    drafted(evaluated(own), tmp_path / "out")
    before, after = made.patched(tmp_path / "out" / "zoo_entry.patch", tmp_path / "clone")
    assert before != after
    assert made.NAME in after


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_changed_checkpoint_of_a_draft_is_exit_7(
    own: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluated(own)
    assert robench("submit", str(own), "--draft", "-o", "out") == 0
    assert "a draft, not for submission" in " ".join(capsys.readouterr().out.split())
    assert robench("submit", "--check", "out") == 0
    edits.byte(f"checkpoint/{made.NAME}.{suffix}", 0.5)(tmp_path / "out")
    assert robench("submit", "--check", "out") == 7
    edits.sum_up(tmp_path / "out")
    assert robench("submit", "--check", "out") == 7


def test_a_draft_that_hides_what_is_missing_is_found(own: Path, tmp_path: Path) -> None:
    drafted(evaluated(own), tmp_path / "out")
    edits.issued(tmp_path / "out", missing=())
    failed = {each.name: each.found for each in made.checked(tmp_path / "out") if not each.passed}
    assert "not booleans of shape (2, 12)" in failed["evaluation"]


@pytest.mark.parametrize("mark", ["ISSUE.md", "zoo_entry.patch", "refs.bib"])
def test_a_draft_that_loses_a_mark_is_found(own: Path, tmp_path: Path, mark: str) -> None:
    drafted(evaluated(own), tmp_path / "out")
    edits.text(mark, "DRAFT", "Model")(tmp_path / "out")
    edits.sum_up(tmp_path / "out")
    assert [each.name for each in made.checked(tmp_path / "out") if not each.passed] == ["documents"]


def test_a_draft_is_not_uploaded(own: Path, tmp_path: Path) -> None:
    drafted(evaluated(own), tmp_path / "out")
    for dry_run in (False, True):
        with pytest.raises(UsageError, match=r"is a draft, which is not uploaded; missing:\n.*8 of the 12 test images"):
            push(tmp_path / "out", "hf:me/fire", dry_run)


def test_a_draft_gives_way_to_what_is_finished_and_not_the_other_way_round(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    drafted(evaluated(own), out)
    drafted(own, out)
    evaluated(own, images=made.TEST)
    assert all(each.passed for each in made.submitted(own, out))
    assert read(out).missing == ()
    for path in own.glob(f"seed-0/eval.*-{made.TEST}.*"):
        path.unlink()
    with pytest.raises(UsageError, match="holds a finished bundle, and this is a draft; choose another --output"):
        made.submitted(own, out, draft=True)
    assert read(out).missing == ()


def test_one_seed_is_enough_and_is_said_to_be_one(own: Path, tmp_path: Path) -> None:
    evaluated(own, images=made.TEST)
    found = made.submitted(own, tmp_path / "out", draft=True)  # nothing is missing, so it is none
    assert all(each.passed for each in found)
    assert {"claim", BENCHMARK, PERTURBED} <= {each.name for each in found}
    texts = {name: (tmp_path / "out" / name).read_text() for name in ("ISSUE.md", "MODEL_CARD.md", "CHECKLIST.md")}
    assert not any("DRAFT" in text or "is a draft" in text for text in texts.values())
    for name in ("ISSUE.md", "MODEL_CARD.md"):
        said = " ".join(texts[name].split())
        assert ONLY in said
        assert "One seed does not show how far these figures change from one start of the training to another" in said
    assert "- [ ] One seed is enough for RobustBench." in texts["CHECKLIST.md"]
    seeds = read_json(tmp_path / "out" / "provenance" / "seeds.json")
    assert (seeds["submitted"], seeds["trained"], seeds["rule"], seeds["std"]["clean"]) == (0, [0], ONLY, None)


def test_seeds_that_were_not_evaluated_are_named(plan: Path, tmp_path: Path) -> None:
    """AutoAttack on one seed is enough; the rule still looks at all that are trained."""
    own = made.copied(plan, tmp_path / "runs" / "cifar10" / "Linf" / "fire" / plan.name)
    for seed in range(2, 5):
        for path in (own / f"seed-{seed}").glob("eval.*"):
            path.unlink()
    assert all(each.passed for each in made.submitted(own, tmp_path / "out"))
    assert "This is seed 0 of 5" in (tmp_path / "out" / "ISSUE.md").read_text()
    assert "Not evaluated like it: seed 2, 3, 4." in (tmp_path / "out" / "ISSUE.md").read_text()
    told = json.loads((tmp_path / "out" / "provenance" / "seeds.json").read_text())
    assert (told["trained"], sorted(told["seeds"])) == ([0, 1, 2, 3, 4], ["0", "1"])
