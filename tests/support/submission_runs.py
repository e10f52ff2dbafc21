"""A finished plan of five seeds and its bundle, for test_submission*.py and test_submit_cli.py.

The plan is CIFAR-10's, the images are scikit-learn's digits in its shape: nothing is downloaded.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from robench_fire.cli import main
from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.datasets import digits
from robench_fire.evaluation import reliability
from robench_fire.evaluation.autoattack import square
from robench_fire.evaluation.autoattack.attack_sets import Battle
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.reliability import Check
from robench_fire.files import sha256, write_text
from robench_fire.launching.seed import Workplace, judge_seed, run_folder, run_seed
from robench_fire.models import robustbench_package
from robench_fire.problem import registry
from robench_fire.problem.dataset import Split, Splits
from robench_fire.runs.compose import Request, compose
from robench_fire.statistics.summary import percent
from robench_fire.submission.bundle import checkpoints, read, write
from robench_fire.submission.checks.check import check, entry_for
from robench_fire.submission.submit import Checking, submit
from robench_fire.submission.texts import rendered
from robench_fire.tables.rows import Row

CPU = torch.device("cpu")
NAME = "Picot2021Adversarial"
TEST = 24  # images
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
    """160 training, 40 validation and 24 test images."""
    parts = zip(digits.DATASET.splits(Path()), (160, 40, TEST), strict=True)
    return Splits(*(_coloured(part.take(slice(count))) for part, count in parts))


@contextmanager
def cut() -> Iterator[None]:
    """CIFAR-10 is these images. AutoAttack aims at one class and asks Square little; the battery uses six images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "splits", lambda name, dataset, folder: splits())
        patch.setattr(Battle, "targets", property(lambda battle: range(2, 3)))
        patch.setattr(square, "QUERIES", 50)
        patch.setattr(reliability, "IMAGES", 6)
        patch.setattr(reliability, "ENOUGH", 6)
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
    if not (found := list(base.glob("finished/cifar10/Linf/fire/*"))):
        return train(base / "finished", 5, Evaluations(attacks=("aa",), eps=("8/255",)))
    return found[0]


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


def sum_up(bundle: Path) -> None:
    """Make the hashes of an edited bundle fit again, as whoever edits it could."""
    paths = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    write_text(bundle / "SHA256SUMS", "".join(f"{sha256(path)}  {path.relative_to(bundle)}\n" for path in paths))


def issued(bundle: Path, **changes: Any) -> None:
    """Change the claim of a bundle and everything that follows from it, as a forger could."""
    before = read(bundle)
    claim = replace(before, **changes)
    write(claim, bundle)
    if claim.name != before.name:
        (bundle / "model_info" / "cifar10" / "Linf" / f"{before.name}.json").unlink()
        for old, new in zip(checkpoints(bundle, before), checkpoints(bundle, claim), strict=True):
            old.rename(new)
    parts = registry.load("datasets", claim.dataset).module.DATASET
    checkpoint = sha256(checkpoints(bundle, claim)[1])
    for name, text in rendered(claim, entry_for(claim, parts), parts, checkpoint).items():
        write_text(bundle / name, text)
    sum_up(bundle)


def patched(patch: Path, clone: Path, dataset: str = "cifar10") -> tuple[str, str]:
    """RobustBench's module of a data set's boards before and after `git apply` in a fresh repository ``clone``."""
    path = f"robustbench/model_zoo/{dataset}.py"
    (clone / path).parent.mkdir(parents=True)
    before = Path(robustbench_package.load().__file__ or "").parents[1].joinpath(path).read_text(encoding="utf-8")
    (clone / path).write_text(before, encoding="utf-8")
    for words in (["init", "-q"], ["apply", str(patch)]):
        subprocess.run(["git", *words], cwd=clone, check=True, capture_output=True)
    return before, (clone / path).read_text(encoding="utf-8")


def robench(patch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process; its exit code."""
    patch.setattr(sys, "argv", ["robench", *words])
    patch.setattr("signal.signal", lambda *_: None)
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def copied(folder: Path, target: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(folder, target))


def flipped(masks: Path, rows: int) -> tuple[float, float]:
    """Let a misclassified image count as correct (1) and as robust (2); what clean and robust accuracy are then."""
    found = np.load(masks)
    found[:rows, np.flatnonzero(~found[0])[0]] = True
    np.save(masks, found)
    clean, robust = map(percent, found)
    return clean, robust


Break = Callable[[Path], object]
"""What a test does to a bundle."""


def told(path: str, *keys: str | int, value: Any = None) -> Break:
    """Set a value in a JSON."""

    def change(folder: Path) -> None:
        whole = inner = json.loads((folder / path).read_text())
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (folder / path).write_text(json.dumps(whole))

    return change


def text(path: str, old: str, new: str) -> Break:
    """Replace a text."""

    def change(folder: Path) -> None:
        before = (folder / path).read_text()
        assert old in before
        (folder / path).write_text(before.replace(old, new))

    return change


def byte(path: str, at: float) -> Break:
    """Flip every bit of one byte, so far into a file."""

    def change(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        content[int(at * len(content))] ^= 255
        (folder / path).write_bytes(content)

    return change


def tensors(path: str, change: Callable[[Any], Any]) -> Break:
    """Change what a .pt holds."""
    return lambda folder: torch.save(change(torch.load(folder / path)), folder / path)


def masks(change: Callable[[np.ndarray], object]) -> Break:
    def changed(folder: Path) -> None:
        found = np.load(folder / "evidence/masks.npy")
        change(found)
        np.save(folder / "evidence/masks.npy", found)

    return changed


def row(change: Callable[[Row], dict[str, Any]]) -> Break:
    """The same with the row of all seeds."""

    def changed(folder: Path) -> None:
        before = read(folder).row
        issued(folder, row=replace(before, **change(before)))

    return changed


def verdicts(verdict: str) -> Break:
    """Of another seed."""
    found = {"verdict": verdict, "reasons": []}
    return row(lambda before: {"facts": before.facts | {"verdicts": before.facts["verdicts"] | {"3": found}}})


def forged(change: Callable[[np.ndarray], object]) -> Break:
    """Change the masks, and every number that follows from them, the log's too."""

    def changed(folder: Path) -> None:
        claim = read(folder)
        masks(change)(folder)
        clean, robust = (percent(mask) for mask in np.load(folder / "evidence/masks.npy"))
        after = dict.fromkeys(claim.facts["after"], robust)
        seeds = claim.row.per_seed | {0: claim.row.per_seed[0] | {"clean": clean, "robust": robust}}
        log = (folder / "evidence/autoattack.log").read_text()
        log = re.sub(r"(robust accuracy.*: )[\d.]+%", rf"\g<1>{robust:.2f}%", log)
        (folder / "evidence/autoattack.log").write_text(
            re.sub(r"(initial accuracy: )[\d.]+%", rf"\g<1>{clean:.2f}%", log)
        )
        facts = claim.facts | {"clean": clean, "robust": robust, "after": after}
        issued(folder, facts=facts, row=replace(claim.row, per_seed=seeds))

    return changed


def untrained(folder: Path) -> None:
    """Other weights, and every hash of them: only running the model can tell."""
    flat = {name: torch.zeros_like(value) for name, value in load_file(checkpoints(folder, read(folder))[0]).items()}
    save_file(flat, checkpoints(folder, read(folder))[0])
    torch.save(flat, checkpoints(folder, read(folder))[1])
    claim, digest = read(folder), sha256(checkpoints(folder, read(folder))[0])
    text("evidence/autoattack.log", claim.facts["weights_sha256"], digest)(folder)
    told("provenance/train.json", "weights_sha256", value=digest)(folder)
    weights = claim.row.facts["weights_sha256"] | {"0": digest}
    changed = replace(claim.row, facts=claim.row.facts | {"weights_sha256": weights})
    issued(folder, facts=claim.facts | {"weights_sha256": digest}, row=changed)


def at_16(folder: Path) -> None:
    """A radius without a board, wherever a radius stands."""
    claim = read(folder)
    text("evidence/autoattack.log", "eps 8/255", "eps 16/255")(folder)
    plan = claim.row.plan | {"claim": {"kind": "Linf", "eps": "16/255"}}
    changed = replace(claim.row, eps="16/255", plan=plan, facts=claim.row.facts | {"usual_eps": "16/255"})
    issued(folder, facts=claim.facts | {"eps": "16/255"}, row=changed)


def outside(x: Tensor) -> Tensor:
    x[3, 0, 0, 0] = (x[3, 0, 0, 0] + 0.1) % 1
    return x


def clean_images(x: Tensor) -> Tensor:
    return to_float(splits().test.images)


def swapped(found: np.ndarray) -> None:
    """Another image is robust: the same accuracies."""
    clean, robust = found
    first, last = np.flatnonzero(robust)[0], np.flatnonzero(clean & ~robust)[-1]
    robust[[first, last]] = False, True


def shifted(found: np.ndarray) -> None:
    found[:] = np.roll(found, 1, 1)


def without(before: Row) -> dict[str, Any]:
    """The seed that is submitted was not evaluated."""
    return {"per_seed": {seed: each for seed, each in before.per_seed.items() if seed != 0}}


def all_robust(found: np.ndarray) -> None:
    found[1] = found[0]


def one_clean_more(found: np.ndarray) -> None:
    found[:, np.flatnonzero(~found[0])[0]] = True, False
