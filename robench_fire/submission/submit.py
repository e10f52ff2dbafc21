"""From a plan's seeds to a bundle that was proved: everything in a fresh folder first, then in its place."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from robench_fire import fetch
from robench_fire.data import to_float
from robench_fire.dataset import Dataset, Split, head
from robench_fire.devices import use
from robench_fire.errors import UsageError
from robench_fire.evaluation.reliability import Check
from robench_fire.files import as_json, held, sha256, write_text
from robench_fire.reporting import Report
from robench_fire.runs import Run
from robench_fire.subjects import subject_of
from robench_fire.submission import bundle
from robench_fire.submission.admission import admission, listed
from robench_fire.submission.check import check, entry_for
from robench_fire.submission.claim import Claim, admissible, check_board, check_link
from robench_fire.submission.draft import marked
from robench_fire.submission.from_runs import claimed, default_name, seeds_at, trained_of
from robench_fire.submission.texts import checklist, rendered


def submit(
    folder: Path, out: Path, *, seed: str, eps: str, name: str, link: str, synthetic: bool, draft: bool, data: Path,
    device: torch.device, examples: int, report: Report,
) -> tuple[list[Check], Path]:  # fmt: skip
    """Write the bundle of the plan at ``folder`` and check it; the checks, and where it lies.

    A ``draft`` is made from what is there. The place is ``out``, where an older bundle is replaced; or, if a check
    failed, a folder beside it. See from_runs.claimed for the choices.

    Raises:
        RobenchError: whatever makes a submission impossible, see from_runs.claimed and claim.admissible.
    """
    out = out.resolve()
    check_link(link)
    for place in (out, _failed(out)):
        _check_place(place)
    every = seeds_at(folder)
    if not seed and (its := re.fullmatch(r"seed-(\d+)", folder.resolve().name)):
        seed = its[1]
    subject = subject_of(trained_of(every)[0])
    name = name or default_name(every)
    check_board(subject.dataset, subject.claim.norm, eps or str(subject.claim.eps), name)
    use(device)
    parts = subject.parts()
    test = fetch.splits(subject.dataset, parts, data).test
    images = len(test.labels)
    claim = claimed(every, seed=seed, eps=eps, name=name, link=link, synthetic=synthetic, images=images, draft=draft)
    admissible(claim)
    if claim.missing:
        _keep_finished(out)
    run = next(each for each in every if each.seed == claim.seed)
    busy = f"another process writes {out}; wait for it, or choose another --output"
    lock = out.with_name(f".{out.name}.lock")
    with held(lock, busy, f"cannot write beside {out}"):
        try:
            return _written(claim, run, parts, test, out, data, device, examples, report)
        finally:
            lock.unlink(missing_ok=True)  # while it is held; filelock notices a file that is gone


def _written(
    claim: Claim, run: Run, parts: Dataset, test: Split, out: Path, data: Path, device: torch.device, examples: int,
    report: Report,
) -> tuple[list[Check], Path]:  # fmt: skip
    fresh = out.with_name(f".{out.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    report("writing", 0, 1, "")
    few = head(test, min(500, claim.facts["examples"])).to(device)
    bundle.take(claim, run, test, out, fresh)
    entry = entry_for(claim, parts)
    checkpoint = sha256(bundle.checkpoints(fresh, claim.name)[1])

    def write(name: str, text: str) -> None:
        write_text(fresh / name, marked(name, text, claim.missing))

    admitted = admission(subject_of(run).load(device), to_float(few.images), few.labels)
    write("evidence/admission.json", as_json(listed(admitted)))
    for name, text in rendered(claim, entry, parts, checkpoint).items():
        write_text(fresh / name, text)
    tools = {"robustbench": version("robustbench"), "robench_fire": version("robench-fire"), "torch": torch.__version__}
    found: list[Check] = []
    for _ in range(2):  # the check finds its own results missing otherwise
        write("CHECKLIST.md", checklist(claim, entry, checkpoint, found))
        write(bundle.CHECKED, as_json(tools | listed(found)))
        bundle.sum_up(fresh)
        found = found or check(fresh, data, device, examples, report)
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
