"""A finished plan of five seeds and its bundle, for test_submission*.py and test_submit_cli.py.

The plan is CIFAR-10's, the images are scikit-learn's digits in its shape: nothing is downloaded.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from robench_fire.data import fetching
from robench_fire.datasets import digits
from robench_fire.devices import meters
from robench_fire.evaluation import reliability
from robench_fire.evaluation.autoattack import square
from robench_fire.evaluation.autoattack.attack_sets import AttackedBlock
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.reliability import Check
from robench_fire.launching.seed import judge_seed, run_folder, run_seed
from robench_fire.launching.training_stage import Workplace
from robench_fire.models import robustbench_package
from robench_fire.problem.dataset import Split, Splits
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import read_json
from robench_fire.submission.checks.check import check
from robench_fire.submission.submit import Checking, submit

CPU = torch.device("cpu")
NAME = "Picot2021Adversarial"
TEST = 12  # images
CHECKED = "evidence/robustbench_check.json"
FILES = f"""
ISSUE.md MODEL_CARD.md CHECKLIST.md zoo_entry.patch readme_row.md leaderboard_row.html table.tex refs.bib
model_info/cifar10/Linf/{NAME}.json checkpoint/{NAME}.pt checkpoint/{NAME}.safetensors
evidence/autoattack.log evidence/aa_summary.json evidence/masks.npy evidence/adv_examples.pt evidence/reliability.json
evidence/admission.json {CHECKED}
provenance/plan.json provenance/train.json provenance/curve.jsonl provenance/environment.json
provenance/data_checksums.txt provenance/seeds.json provenance/row.json provenance/submission.json
""".split()
"""What a bundle holds beside the hashes of these."""
SETTINGS = {
    "threat.eps": "1/255", "recipe.attack.steps": "1", "recipe.attack.step": "1/255", "recipe.batch_size": "20",
    "recipe.augment.pad": "0", "recipe.augment.flip": "false", "defense.lam": "1",
    "recipe.optimiser": "adam", "recipe.optimiser.lr": "0.01",
}  # fmt: skip
"""Of a training so brief and weak that AutoAttack breaks nearly every image at once."""


def quiet(stage: str, done: int, total: int, note: str) -> None:
    pass


def _coloured(split: Split) -> Split:
    """In CIFAR-10's shape."""
    large = split.images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return Split(large.expand(-1, 3, -1, -1).contiguous(), split.labels)


@cache
def splits() -> Splits:
    """120 training, 10 validation and 12 test images, of which every seed leaves some standing."""
    parts = zip(digits.DATASET.splits(Path()), (slice(120), slice(10), slice(10, 10 + TEST)), strict=True)
    return Splits(*(_coloured(part.take(chosen)) for part, chosen in parts))


@contextmanager
def cut() -> Iterator[None]:
    """CIFAR-10 is these images. AutoAttack aims at one class and asks Square little; the battery uses three images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "splits", lambda name, dataset, folder: splits())
        patch.setattr(AttackedBlock, "targets", property(lambda attacked: range(2, 3)))
        patch.setattr(square, "QUERIES", 50)
        patch.setattr(reliability, "IMAGES", 3)
        patch.setattr(reliability, "ENOUGH", 3)
        patch.setitem(meters.SIZES, "cpu", meters.SIZES["cpu"][:1])
        yield


def train(root: Path, seeds: int, evaluations: Evaluations, **settings: str) -> Path:
    """The folder of a plan after so many seeds were trained, evaluated and judged."""
    chosen = tuple(("--set", path, value) for path, value in (SETTINGS | settings).items())
    request = Request(defense="fire", dataset="cifar10", arch="wrn-10-1", epochs=4, settings=chosen)
    place = Workplace(output=root, data=root, device="cpu")
    for step in (run_seed, judge_seed):
        for seed in range(seeds):
            step(request, seed, evaluations, place, quiet)
    return run_folder(compose(request), root, 0).folder.parent


def finished(base: Path) -> Path:
    """The folder of a plan of five seeds, made once below ``base``; not to be changed."""
    if not (base / "finished" / "done").exists():  # a half that a fault left is none
        shutil.rmtree(base / "finished", ignore_errors=True)
        train(base / "finished", 5, Evaluations(attacks=("aa",), eps=("8/255",)))
        (base / "finished" / "done").touch()
    (found,) = base.glob("finished/cifar10/Linf/fire/*")
    return found


def written(base: Path) -> Path:
    """Its bundle, made once; not to be changed."""
    if not (base / "written").exists():
        assert [each for each in submitted(finished(base), base / "written") if not each.passed] == []
    return base / "written"


def submitted(folder: Path, out: Path, **asked: Any) -> list[Check]:
    """``robench submit`` without its command line."""
    chosen: dict[str, Any] = dict.fromkeys(("seed", "eps", "name", "link"), "") | {"synthetic": False, "draft": False}
    chosen |= {"examples": 1} | asked
    checking = Checking(data=Path("nowhere"), device=CPU, examples=chosen.pop("examples"), report=quiet)
    found, place = submit(folder, out, checking, **chosen)
    assert place == (out.resolve() if all(each.passed for each in found) else out.with_name(f"{out.name}.failed"))
    return found


def checked(folder: Path, examples: int = 1) -> list[Check]:
    """``robench submit --check`` without its command line."""
    return check(folder, Path("nowhere"), CPU, examples, quiet)


def patched(patch: Path, clone: Path, dataset: str = "cifar10") -> tuple[str, str]:
    """RobustBench's module of a data set's boards before and after `git apply` in a fresh repository ``clone``."""
    path = f"robustbench/model_zoo/{dataset}.py"
    (clone / path).parent.mkdir(parents=True)
    before = Path(robustbench_package.load().__file__ or "").parents[1].joinpath(path).read_text(encoding="utf-8")
    (clone / path).write_text(before, encoding="utf-8")
    for words in (["init", "-q"], ["apply", str(patch)]):
        subprocess.run(["git", *words], cwd=clone, check=True, capture_output=True)
    return before, (clone / path).read_text(encoding="utf-8")


def renamed(folder: Path) -> Path:
    """The folder of a plan that was changed, called by its fingerprint."""
    return folder.rename(folder.with_name(plan_fingerprint(read_json(folder / "seed-0" / "plan.json"))))


def copied(folder: Path, target: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(folder, target))
