"""From seeds or a checkpoint to a bundle that was proved: everything in a fresh folder first, then in its place."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.device import use
from robench_fire.errors import UsageError
from robench_fire.evaluation.reliability import Check
from robench_fire.files import as_json, held, sha256, write_text
from robench_fire.problem.dataset import Split, head
from robench_fire.progress import Report
from robench_fire.runs.model_source import ModelSource, source_of
from robench_fire.submission import bundle
from robench_fire.submission.checks.admission import admission, listed
from robench_fire.submission.checks.check import check, entry_for
from robench_fire.submission.claims import from_file, from_runs
from robench_fire.submission.claims.claim import Claim, admissible, check_board, check_link
from robench_fire.submission.claims.from_file import Told
from robench_fire.submission.draft import marked
from robench_fire.submission.texts import CHECKLIST, checklist, rendered
from robench_fire.submission.zoo_entry import check_network


@dataclass(frozen=True, kw_only=True)
class Checking:
    """With what a bundle is checked: the data folder, the device, how many images RobustBench attacks."""

    data: Path
    device: torch.device
    examples: int
    report: Report


def submit(
    folder: Path,
    out: Path,
    checking: Checking,
    *,
    seed: str,
    eps: str,
    name: str,
    link: str,
    synthetic: bool,
    draft: bool,
) -> tuple[list[Check], Path]:
    """Write the bundle of the plan at ``folder`` and check it; the checks, and where it lies.

    A ``draft`` is made from what is there. The place is ``out``, where an older bundle is replaced; or, if a check
    failed, a folder beside it. See from_runs.claimed for the choices.

    Raises:
        RobenchError: whatever makes a submission impossible, see from_runs.claimed and claim.admissible.
    """
    out = _free(out, link)
    every = from_runs.seeds_at(folder)
    if not seed and (its := re.fullmatch(r"seed-(\d+)", folder.resolve().name)):
        seed = its[1]
    first = from_runs.trained_of(every)[0]
    check_network(first.read("plan.json")["recipe"]["arch"])
    source = source_of(first)
    name = name or from_runs.default_name(every)
    check_board(source.dataset, source.claim.norm, eps or str(source.claim.eps), name)
    test = _images(source, checking)
    claim = from_runs.claimed(
        every, seed=seed, eps=eps, name=name, link=link, synthetic=synthetic, images=len(test.labels), draft=draft
    )
    run = next(each for each in every if each.seed == claim.seed)
    return _placed(claim, source_of(run), test, out, checking)


def submit_file(
    source: ModelSource, out: Path, checking: Checking, its: Told, *, eps: str, link: str, draft: bool, again: str
) -> tuple[list[Check], Path]:
    """The same of a checkpoint that was trained elsewhere, see from_file.claimed.

    Raises:
        RobenchError: whatever makes a submission impossible, see from_file.claimed and claim.admissible.
    """
    out, eps = _free(out, link), eps or str(source.claim.eps)
    check_network(source.arch)
    check_board(source.dataset, source.claim.norm, eps, its.name)
    test = _images(source, checking)
    images = len(test.labels)
    claim = from_file.claimed(source, its, eps=eps, link=link, images=images, draft=draft, again=again)
    return _placed(claim, source, test, out, checking)


def _free(out: Path, link: str) -> Path:
    """The whole path of ``out``, once nothing stands against writing there."""
    out = out.resolve()
    check_link(link)
    for place in (out, _failed(out)):
        _check_place(place)
    return out


def _images(source: ModelSource, checking: Checking) -> Split:
    use(checking.device)
    return fetching.splits(source.dataset, source.parts(), checking.data).test


def _placed(claim: Claim, source: ModelSource, test: Split, out: Path, checking: Checking) -> tuple[list[Check], Path]:
    admissible(claim)
    if claim.missing:
        _keep_finished(out)
    busy = f"another process writes {out}; wait for it, or choose another --output"
    lock = out.with_name(f".{out.name}.lock")
    with held(lock, busy, f"cannot write beside {out}"):
        try:
            return _written(claim, source, test, out, checking)
        finally:
            lock.unlink(missing_ok=True)  # while it is held; filelock notices a file that is gone


def _written(claim: Claim, source: ModelSource, test: Split, out: Path, checking: Checking) -> tuple[list[Check], Path]:
    fresh = out.with_name(f".{out.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    checking.report("writing", 0, 1, "")
    parts, device = source.parts(), checking.device
    few = head(test, min(500, claim.facts["examples"])).to(device)
    bundle.take(claim, source, test, out, fresh)
    entry = entry_for(claim, parts)
    checkpoint = sha256(bundle.checkpoints(fresh, claim)[1])

    def write(name: str, text: str) -> None:
        write_text(fresh / name, marked(name, text, claim.missing))

    admitted = admission(source.load(device), to_float(few.images), few.labels)
    write("evidence/admission.json", as_json(listed(admitted)))
    for name, text in rendered(claim, entry, parts, checkpoint).items():
        write_text(fresh / name, text)
    tools = {"robustbench": version("robustbench"), "robench_fire": version("robench-fire"), "torch": torch.__version__}
    found: list[Check] = []
    for _ in range(2):  # the check finds its own results missing otherwise
        write_text(fresh / CHECKLIST, checklist(claim, entry, checkpoint, found, tools["robustbench"]))
        write(bundle.CHECKED, as_json(tools | listed(found)))
        bundle.sum_up(fresh)
        found = found or check(fresh, checking.data, device, checking.examples, checking.report)
    place = out if all(each.passed for each in found) else _failed(out)
    bundle.replace(fresh, place)
    return found, place


def _failed(out: Path) -> Path:
    """Where a bundle goes that did not pass its check."""
    return out.with_name(f"{out.name}.failed")


def _check_place(out: Path) -> None:
    """Refuse to replace anything that cannot be made again."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder as --output")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / bundle.SUMS).exists():
        raise UsageError(f"{out} holds something that is not a bundle; choose another --output")
    if edited := bundle.changed(out):
        raise UsageError(
            f"{out} holds files that were edited or added ({', '.join(edited)}); move the folder away, and "
            "take them over into the new one"
        )


def _keep_finished(out: Path) -> None:
    """Refuse to put a draft in the place of a finished bundle."""
    if (out / bundle.SUMS).exists() and not bundle.read(out).missing:
        raise UsageError(
            f"{out} holds a finished bundle, and this is a draft; choose another --output, or move it away"
        )
