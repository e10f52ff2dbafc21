"""Evaluating weights on disk: what is there stays, what was interrupted continues, and the result is judged."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from robench_fire.data import fetching
from robench_fire.devices.device import use
from robench_fire.devices.workers import useful
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation import adversarial_images, record, reliability, reliability_text
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel
from robench_fire.evaluation.autoattack.forwards import forward_of
from robench_fire.evaluation.autoattack.units import Ended, elsewhere, here
from robench_fire.evaluation.evaluate import Save, fill
from robench_fire.evaluation.evaluator import Evaluations, Evaluator
from robench_fire.evaluation.own_attacks.judging import count_own
from robench_fire.evaluation.record import Record
from robench_fire.evaluation.stored import clear, facts_of, finish, is_current, keeps_images, masks_of
from robench_fire.files import check_there, sealed, write_json
from robench_fire.problem.dataset import Split
from robench_fire.problem.threat import Threat
from robench_fire.progress import Event, Report
from robench_fire.runs import provenance
from robench_fire.runs.folders import Run
from robench_fire.runs.model_source import ModelSource, source_of

OTHERWISE = "give each its own --shard"
"""What whoever finds an evaluation's record held may do."""


def evaluate_all(
    found: Sequence[ModelSource],
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
        for source in found:

            def report(stage: str, done: int, total: int, note: str, name: str = source.name) -> None:
                listen(Event(name, stage, done, total, note))

            try:
                made = evaluate_source(source, test, evaluations, device, report)
            except torch.OutOfMemoryError:
                raise DataError(f"{source.name}: out of memory; use a smaller --batch-size, or --jobs 1") from None
            report("done", 1, 1, "")
            facts += [{"weights": str(source.run.folder if source.run else source.weights), **each} for each in made]
    return facts


def evaluate_source(
    source: ModelSource,
    test: Split,
    evaluations: Evaluations,
    device: torch.device,
    report: Report,
    *,
    judge: bool = True,
) -> list[dict[str, Any]]:
    """Run the evaluations that are not on disk yet for these weights; the facts of all that were asked for.

    ``judge``: also check how far they can be believed, which looks at the other seeds of the same plan.

    Raises:
        DataError: if the weights cannot be read or do not fit the architecture.
    """
    if not evaluations.names:
        return []
    evaluator = Evaluator(source, test, evaluations, device)
    evaluations.check(source.dataset, evaluator.dataset.num_classes)
    facts: list[dict[str, Any] | tuple[str, Threat]] = []  # of what is stored, which
    for threat in evaluations.threats(source):
        for attack in evaluations.names:
            if is_current(evaluator, attack, threat):
                _tidy(evaluator, attack, threat)
            else:
                made = _attacked(evaluator, attack, threat, report)
                if evaluations.shard:
                    facts.append(made)
                    continue
            if judge:
                judge_stored(evaluator, attack, threat, report)
            facts.append((attack, threat))
        if evaluations.own and judge:
            count_own(evaluator, threat)  # also in what was found before
    return [each if isinstance(each, dict) else facts_of(evaluator, *each) for each in facts]


def _attacked(evaluator: Evaluator, attack: str, threat: Threat, report: Report) -> dict[str, Any]:
    """Run what is missing of an evaluation, or of a shard of it, and write what it came to."""
    wanted, name = evaluator.evaluations, evaluator.name(attack, threat)
    identity = evaluator.identity(attack, threat)
    attacks = [each.name for each in evaluator.attacks(attack)]
    shards = [evaluator.path(name, f".shard-{wanted.shard[0]}-of-{wanted.shard[1]}")] if wanted.shard else []
    if wanted.merge:
        shards = sorted(evaluator.source.stem.parent.glob(f"{glob.escape(evaluator.path(name, '').name)}.shard-*-of-*"))
        blocks = -(-len(evaluator.test.labels) // wanted.batch_size)
        return finish(evaluator, threat, record.joined(shards, identity, attacks, blocks))
    state = shards[0] if shards else evaluator.path(name, ".state")
    with opened(evaluator, attack, threat, state) as found:
        if not wanted.shard and is_current(evaluator, attack, threat):  # another process has just finished it
            return facts_of(evaluator, attack, threat)
        _run(evaluator, found, state, threat, report)
        if wanted.shard:
            return _partial(identity, found)
        facts = finish(evaluator, threat, found)
        state.unlink(missing_ok=True)
    return facts


@contextmanager
def opened(evaluator: Evaluator, attack: str, threat: Threat, state: Path) -> Iterator[Record]:
    """The record at ``state``, or a new one, held against a second process.

    Raises:
        UsageError: if another process works on it, or its folder cannot be written.
        DataError: if there is a record that cannot be read or is another evaluation's, or weights or images are wrong.
    """
    _ = evaluator.attacked  # what is wrong with weights or images is found before anything is written
    identity, part = evaluator.identity(attack, threat), evaluator.evaluations.shard or (1, 1)
    with record.locked(state, OTHERWISE):
        for left in state.parent.glob(f".{glob.escape(state.name)}.*.partial"):  # of a process killed while it wrote
            left.unlink(missing_ok=True)
        attacks = [each.name for each in evaluator.attacks(attack)]
        yield record.read(state, identity, attacks, part) if state.exists() else Record(identity, part)


def begun(evaluator: Evaluator, found: Record, threat: Threat) -> AttackedModel:
    """What is attacked in this session, which the record notes."""
    attacked, flags = evaluator.attacked
    found.flags |= set(flags) - ({"randomised"} if found.identity["attack"] == "aa-rand" else set())  # made for those
    found.sessions += 1
    found.machines.add(f"torch {torch.__version__} on {provenance.device_name(evaluator.device)}")
    return attacked.under(threat)


def saving(evaluator: Evaluator, found: Record, state: Path, threat: Threat) -> Save:
    """Called after each unit: keeps what broke the model, and the record."""
    attack = str(found.identity["attack"])
    folder = evaluator.path(evaluator.name(attack, threat), ".adv")

    def save(name: str, ended: Ended) -> None:
        check_there(state.parent)
        if keeps_images(found.identity):
            adversarial_images.keep(
                folder, ended.number, name, evaluator.weights, ended.outcome.broken, ended.outcome.images
            )
        found.write(state)

    return save


def _run(evaluator: Evaluator, found: Record, state: Path, threat: Threat, report: Report) -> None:
    attacked, wanted, attack = begun(evaluator, found, threat), evaluator.evaluations, str(found.identity["attack"])
    if found.shard[0] > attacked.blocks:
        raise UsageError(
            f"--shard {found.shard[0]}/{found.shard[1]}: there are {attacked.blocks} blocks of {wanted.batch_size} "
            "images; use fewer shards, or a smaller --batch-size in all of them"
        )

    def told(name: str, done: int, total: int, note: str) -> None:
        report(f"{attack} {threat.eps}: {name}" if name != attack else f"{attack} {threat.eps}", done, total, note)

    jobs = useful(wanted.jobs, len(record.numbers(attacked.blocks, found.shard)), evaluator.device.type)
    save = saving(evaluator, found, state, threat)
    if jobs == 1:
        fill(found, attacked, evaluator.attacks(attack), here(attacked), save, told)
    else:
        make = partial(_loaded, evaluator.source, evaluator.test, wanted, evaluator.device, threat)
        with elsewhere(make, jobs, attacked.blocks) as crew:
            fill(found, attacked, evaluator.attacks(attack), crew, save, told)
    found.write(state)


def _loaded(
    source: ModelSource, test: Split, wanted: Evaluations, device: torch.device, threat: Threat
) -> AttackedModel:
    """In a worker process: the same attacked model again."""
    use(device)
    return Evaluator(source, test, wanted, device).attacked[0].under(threat)


def is_judged(facts: dict[str, Any], siblings: dict[str, str]) -> bool:
    """Whether an evaluation has a verdict, made with the trained ``siblings`` (name to hash) of its run."""
    seen = siblings if facts["attack"] in reliability.COMPLETE else {}
    return "reliability" in facts and bool(facts["reliability"].get("siblings") == seen)


def judge_stored(evaluator: Evaluator, attack: str, threat: Threat, report: Report) -> None:
    """Add the verdict to a finished evaluation, unless it has one that saw the seeds that are trained now."""
    stored = evaluator.path(evaluator.name(attack, threat), ".json")
    facts, run = facts_of(evaluator, attack, threat), evaluator.source.run
    siblings = run.siblings() if run else {}
    if is_judged(facts, siblings):
        return
    siblings = siblings if attack in reliability.COMPLETE else {}
    report(f"{attack} {threat.eps}: reliability", 0, 1, "")
    attacked = evaluator.attacked[0].under(threat) if attack in reliability.COMPLETE else None
    masks = torch.from_numpy(masks_of(evaluator, attack, threat)).to(evaluator.device)
    others = [source_of(Run(run.folder.with_name(name))).load(evaluator.device) for name in siblings] if run else []
    forwards = [forward_of(each, attacked.images, attacked.num_classes) for each in others] if attacked else []
    verdict = reliability.judged(attack, attacked, masks[0], masks[1], reliability_text.signs(facts), forwards)
    write_json(stored, sealed(facts | {"reliability": verdict | {"siblings": siblings}}))
    verdict = count_own(evaluator, threat).get(stored, verdict)
    report(f"{attack} {threat.eps}: reliability", 1, 1, verdict["verdict"])


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


def _tidy(evaluator: Evaluator, attack: str, threat: Threat) -> None:
    """Remove what a process left that ended right after the last of a finished evaluation was written."""
    state = evaluator.path(evaluator.name(attack, threat), ".state")
    if state.exists() or any(state.parent.glob(f"{glob.escape(record.lock_of(state).name)}*")):
        with suppress(UsageError), record.locked(state, OTHERWISE):  # else that process is still about to
            clear(evaluator, facts_of(evaluator, attack, threat), threat)
            state.unlink(missing_ok=True)
