"""Evaluating weights on disk: what is there stays, what was interrupted continues, and the result is judged."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robench_fire.data import fetching
from robench_fire.devices.device import use
from robench_fire.devices.workers import useful
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation import adversarial_images, autoattack_log, record, reliability, reliability_text
from robench_fire.evaluation.autoattack.arena import Arena
from robench_fire.evaluation.autoattack.forwards import forward_of
from robench_fire.evaluation.autoattack.units import Ended, elsewhere, here
from robench_fire.evaluation.evaluate import SETS, Result, fill, result
from robench_fire.evaluation.evaluator import Assessor, Evaluations
from robench_fire.evaluation.model_source import Subject, subject_of
from robench_fire.evaluation.record import Record
from robench_fire.files import held, write_json, write_text
from robench_fire.problem.dataset import Split
from robench_fire.problem.threat import Threat
from robench_fire.progress import Event, Report
from robench_fire.runs import folders, provenance
from robench_fire.runs.folders import Run
from robench_fire.statistics.summary import percent, wilson


def assess(
    found: Sequence[Subject],
    evaluations: Evaluations,
    data: Path,
    device: torch.device,
    listening: Callable[[int, str], AbstractContextManager[Callable[[Event], None]]],
) -> list[dict[str, Any]]:
    """Evaluate several weights of one data set in turn; the facts of every evaluation, with the weights' path."""
    evaluations.threats(found[0])  # a mistake is found before anything is read
    use(device)
    test = fetching.splits(found[0].dataset, found[0].parts(), data).test
    facts = []
    with listening(len(found), "weights") as listen:
        for subject in found:

            def report(stage: str, done: int, total: int, note: str, name: str = subject.name) -> None:
                listen(Event(name, stage, done, total, note))

            try:
                made = evaluate_subject(subject, test, evaluations, device, report)
            except torch.OutOfMemoryError:
                raise DataError(f"{subject.name}: out of memory; use a smaller --batch-size, or --jobs 1") from None
            report("done", 1, 1, "")
            facts += [{"weights": str(subject.run.folder if subject.run else subject.weights), **each} for each in made]
    return facts


def evaluate_subject(
    subject: Subject, test: Split, evaluations: Evaluations, device: torch.device, report: Report, *, judge: bool = True
) -> list[dict[str, Any]]:
    """Run the evaluations that are not on disk yet for these weights; the facts of all that were asked for.

    ``judge``: also check how far they can be believed, which looks at the other seeds of the same plan.

    Raises:
        DataError: if the weights cannot be read or do not fit the architecture.
    """
    if not evaluations.attacks:
        return []
    assessor = Assessor(subject, test, evaluations, device)
    evaluations.check(subject.dataset, assessor.dataset.num_classes)
    facts = []
    for threat in evaluations.threats(subject):
        for attack in evaluations.attacks:
            stored = assessor.path(assessor.name(attack, threat), ".json")
            if _is_current(stored, assessor.identity(attack, threat)):
                stored.with_suffix(".state").unlink(missing_ok=True)  # left if it was ended in the last moment
            else:
                made = _attacked(assessor, attack, threat, report)
                if evaluations.shard:
                    facts.append(made)
                    continue
            if judge:
                _judge(assessor, attack, threat, stored, report)
            facts.append(folders.read_json(stored))
    return facts


def _is_current(stored: Path, identity: record.Identity) -> bool:
    if not (stored.exists() and stored.with_suffix(".npy").exists()):
        return False
    found = folders.read_json(stored)
    return all(found.get(name) == value for name, value in identity.items())


def _attacked(assessor: Assessor, attack: str, threat: Threat, report: Report) -> dict[str, Any]:
    """Run what is missing of an evaluation, or of a shard of it, and write what it came to."""
    wanted, name = assessor.evaluations, assessor.name(attack, threat)
    identity = assessor.identity(attack, threat)
    attacks = [each.name for each in SETS[attack]]
    shards = [assessor.path(name, f".shard-{wanted.shard[0]}-of-{wanted.shard[1]}")] if wanted.shard else []
    if wanted.merge:
        shards = sorted(assessor.subject.stem.parent.glob(f"{glob.escape(assessor.path(name, '').name)}.shard-*-of-*"))
        blocks = -(-len(assessor.test.labels) // wanted.batch_size)
        return _finish(assessor, threat, record.joined(shards, identity, attacks, blocks))
    state = shards[0] if shards else assessor.path(name, ".state")
    _ = assessor.arena  # what is wrong with weights or images is found before anything is written
    with _locked(state):
        for left in state.parent.glob(f".{glob.escape(state.name)}.*.partial"):  # of a process killed while it wrote
            left.unlink(missing_ok=True)
        stored = assessor.path(name, ".json")
        if not wanted.shard and _is_current(stored, identity):  # another process has just finished it
            return folders.read_json(stored)
        part = wanted.shard or (1, 1)
        found = record.read(state, identity, attacks, part) if state.exists() else Record(identity, part)
        _run(assessor, found, state, threat, report)
        if wanted.shard:
            return _partial(identity, found)
        facts = _finish(assessor, threat, found)
        state.unlink(missing_ok=True)
    return facts


def _run(assessor: Assessor, found: Record, state: Path, threat: Threat, report: Report) -> None:
    arena, flags = assessor.arena
    arena, wanted = arena.under(threat), assessor.evaluations
    if found.shard[0] > arena.blocks:
        raise UsageError(
            f"--shard {found.shard[0]}/{found.shard[1]}: there are {arena.blocks} blocks of {wanted.batch_size} "
            "images; use fewer shards, or a smaller --batch-size in all of them"
        )
    attack = str(found.identity["attack"])
    found.flags |= set(flags) - ({"randomised"} if attack == "aa-rand" else set())  # which is made for those
    found.sessions += 1
    found.machines.add(f"torch {torch.__version__} on {provenance.device_name(assessor.device)}")

    def told(name: str, done: int, total: int, note: str) -> None:
        report(f"{attack} {threat.eps}: {name}" if name != attack else f"{attack} {threat.eps}", done, total, note)

    jobs = useful(wanted.jobs, len(record.numbers(arena.blocks, found.shard)), assessor.device.type)
    folder = assessor.path(assessor.name(attack, threat), ".adv")

    def save(name: str, ended: Ended) -> None:
        if attack in reliability.COMPLETE:
            adversarial_images.keep(
                folder, ended.number, name, assessor.weights, ended.outcome.broken, ended.outcome.images
            )
        found.write(state)

    if jobs == 1:
        fill(found, arena, SETS[attack], here(arena), save, told)
    else:
        make = partial(_arena, assessor.subject, assessor.test, wanted, assessor.device, threat)
        with elsewhere(make, jobs, arena.blocks) as crew:
            fill(found, arena, SETS[attack], crew, save, told)
    found.write(state)


def _arena(subject: Subject, test: Split, wanted: Evaluations, device: torch.device, threat: Threat) -> Arena:
    """In a worker process: the same arena again."""
    use(device)
    return Assessor(subject, test, wanted, device).arena[0].under(threat)


def _finish(assessor: Assessor, threat: Threat, whole: Record) -> dict[str, Any]:
    """Write masks, facts and log of a complete record."""
    found = result(whole)
    name = assessor.name(str(whole.identity["attack"]), threat)
    facts, path = _facts(name, whole, found, assessor.device), assessor.path(name, "")
    try:
        if facts["attack"] in reliability.COMPLETE:
            parts = assessor.path(name, ".adv")
            facts["images_missing"] = adversarial_images.gather(parts, whole, assessor.path(name, ".adv.safetensors"))
            if not (facts["images_missing"] or assessor.evaluations.merge):  # shards stay, and so do their parts
                adversarial_images.clear(parts)
        write_text(assessor.path(name, ".log"), autoattack_log.text(whole))
        folders.write_evaluation(path, np.stack([found.clean, found.robust]), facts)  # last: says that all is there
    except OSError as fault:
        raise DataError(
            f"cannot write {path}: {fault.strerror}; make room and give the same command again, it continues"
        ) from None
    return facts


def is_judged(facts: dict[str, Any], siblings: dict[str, str]) -> bool:
    """Whether an evaluation has a verdict, made with the trained ``siblings`` (name to hash) of its run."""
    seen = siblings if facts["attack"] in reliability.COMPLETE else {}
    return "reliability" in facts and bool(facts["reliability"].get("siblings") == seen)


def _judge(assessor: Assessor, attack: str, threat: Threat, stored: Path, report: Report) -> None:
    """Add the verdict to an evaluation, unless it has one that saw the seeds that are trained now."""
    facts, run = folders.read_json(stored), assessor.subject.run
    siblings = run.siblings() if run else {}
    if is_judged(facts, siblings):
        return
    siblings = siblings if attack in reliability.COMPLETE else {}
    report(f"{attack} {threat.eps}: reliability", 0, 1, "")
    arena = assessor.arena[0].under(threat) if attack in reliability.COMPLETE else None
    masks = torch.from_numpy(np.load(stored.with_suffix(".npy"), allow_pickle=False)).to(assessor.device)
    others = [subject_of(Run(run.folder.with_name(name))).load(assessor.device) for name in siblings] if run else []
    forwards = [forward_of(each, arena.images, arena.num_classes) for each in others] if arena else []
    verdict = reliability.judged(attack, arena, masks[0], masks[1], reliability_text.signs(facts), forwards)
    write_json(stored, facts | {"reliability": verdict | {"siblings": siblings}})
    report(f"{attack} {threat.eps}: reliability", 1, 1, verdict["verdict"])


def _facts(name: str, whole: Record, found: Result, device: torch.device) -> dict[str, Any]:
    about = whole.identity
    low, high = wilson(int(found.robust.sum()), len(found.robust))
    return {
        "name": name,
        **about,
        "clean": percent(found.clean),
        "robust": percent(found.robust),
        "robust_interval": [low, high],
        "after": found.after,
        "attack_seconds": found.seconds,
        "seconds": sum(found.seconds.values()),
        "largest_perturbation": found.largest,
        "flags": found.flags,
        "sessions": whole.sessions,
        "machines": sorted(whole.machines),
        "versions": provenance.versions(),
    }


def _partial(identity: dict[str, str | int], found: Record) -> dict[str, Any]:
    """What a finished shard says."""
    blocks = found.blocks.values()
    images = sum(len(block.clean) for block in blocks)
    return {
        **identity,
        "shard": list(found.shard),
        "examples": images,
        "clean": 100 * sum(int(block.clean.sum()) for block in blocks) / images,
        "robust": 100 * sum(int(block.robust.sum()) for block in blocks) / images,
        "seconds": sum(sum(block.seconds.values()) for block in blocks),
        "flags": sorted(found.flags),
    }


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold an evaluation, or a shard of it, against a second process.

    Raises:
        UsageError: if another process works on it, or its folder cannot be written.
    """
    lock = state.with_name(f".{state.name}.lock")
    busy = f"another process works on {state}; wait for it, or give each its own --shard"
    with held(lock, busy, f"cannot write beside {state}"):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held; filelock notices a file that is gone
