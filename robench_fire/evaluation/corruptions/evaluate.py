"""Accuracy under common corruptions: corruption by corruption, each written as soon as it is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robench_fire import stopping
from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.data.corruptions import made, official
from robench_fire.data.corruptions.names import SEVERITIES
from robench_fire.devices.device import use
from robench_fire.errors import DataError, unwritten
from robench_fire.evaluation import checks
from robench_fire.evaluation.corruptions.stored import FILES, HERE, finished, names_of, place, read, summary
from robench_fire.evaluation.evaluator import Evaluations, Evaluator
from robench_fire.evaluation.record import locked
from robench_fire.files import check_there, sealed, write_json
from robench_fire.problem.dataset import Split
from robench_fire.progress import Event, Listening, Report
from robench_fire.runs import provenance
from robench_fire.runs.model_source import ModelSource
from robench_fire.statistics.masks import packed
from robench_fire.statistics.summary import percent

VERSION = 2  # of the images that are made here


@dataclass(frozen=True, kw_only=True)
class Asked:
    """``folder``: files in the layout of CIFAR-10-C; None: those of the data folder, and else images made here.

    ``examples``: the first so many test images; ``seed``: of the images made here; ``batch_size``: images at a time.
    """

    folder: Path | None = None
    examples: int | None = None
    seed: int = 0
    batch_size: int = 500


def source_folder(source: ModelSource, asked: Asked, data: Path) -> Path | None:
    """The folder of corrupted images; None if there is none, and they are made here."""
    usual = source.parts().corrupted
    return asked.folder or (data / usual if usual and (data / usual).is_dir() else None)


def evaluate_all(
    found: Sequence[ModelSource], asked: Asked, data: Path, device: torch.device, listening: Listening
) -> list[dict[str, Any]]:
    """Evaluate several weights of one data set in turn; the record of each, with the weights' path.

    Raises:
        DataError: for weights or corrupted images that cannot be used.
    """
    use(device)
    folder = source_folder(found[0], asked, data)
    test = fetching.splits(found[0].dataset, found[0].parts(), data).test
    if folder is not None:
        official.check(folder, test)
    facts = []
    with listening(len(found), "weights") as listen:
        for source in found:

            def report(stage: str, done: int, total: int, note: str, name: str = source.name) -> None:
                listen(Event(name, stage, done, total, note))

            wanted = Evaluations(examples=asked.examples, seed=asked.seed, batch_size=asked.batch_size)
            evaluator = Evaluator(source, test, wanted, device)
            try:
                record = evaluate_one(evaluator, folder, test, report)
            except torch.OutOfMemoryError:
                raise DataError(f"{source.name}: out of memory; use a smaller --batch-size") from None
            report("done", 1, 1, "")
            facts.append({"weights": str(source.run.folder if source.run else source.weights), **record})
    return facts


def evaluate_one(evaluator: Evaluator, folder: Path | None, test: Split, report: Report) -> dict[str, Any]:
    """The record of these weights; corruptions that are in it already are not evaluated again.

    ``test``: all test images, which the files in ``folder`` are of.
    """
    identity = _identity(evaluator, folder)
    path = place(evaluator.source.stem, identity["source"], identity["examples"], identity["seed"])
    record, names = _there(path, identity), names_of(identity["source"])
    if record is not None and finished(record):
        return record
    with locked(path, "evaluate other weights meanwhile"):
        record = _there(path, identity) or _begun(evaluator, identity)  # another process may have got further
        record["machines"] = sorted({*record["machines"], provenance.device_name(evaluator.device)})
        for done, name in enumerate(names):
            report("corruptions", done, len(names), name)
            if name not in record["corruptions"]:
                record["corruptions"][name] = _corruption(evaluator, folder, test, name)
                _write(path, record)
        record |= summary(record)
        _write(path, record)
    return record


def _identity(evaluator: Evaluator, folder: Path | None) -> dict[str, Any]:
    """What a record is bound to; of files the hashes of the images, corruption by corruption, say which they were."""
    source = evaluator.source
    return {
        "source": HERE if folder is None else FILES,
        "version": VERSION,
        "dataset": source.dataset,
        "examples": len(evaluator.test.labels),
        "seed": evaluator.evaluations.seed if folder is None else 0,
        "arch": source.arch,
        "normalise": source.normalise,
        "weights_sha256": evaluator.weights,
        "images_sha256": evaluator.images,
        **({"weights_key": source.key} if source.key else {}),
    }


def _there(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record at ``path`` if it is of these weights and images."""
    found = read(path) if path.exists() else None
    alike = found is not None and all(found.get(name) == value for name, value in identity.items())
    return found if alike else None


def _begun(evaluator: Evaluator, identity: dict[str, Any]) -> dict[str, Any]:
    """A record with the accuracy on the images as they are, once these weights are seen to be usable."""
    source, parts = evaluator.source, evaluator.dataset
    if source.run is None:  # a run's plan knows its normalisation
        few = evaluator.test.take(slice(evaluator.evaluations.batch_size)).to(evaluator.device)
        checks.wrong_normalisation(
            evaluator.model, to_float(few.images), few.labels, source.normalise, parts.mean, parts.std
        )
    about = {"versions": provenance.versions(), "code": provenance.code()}
    clean = percent(_right(evaluator, evaluator.test.images))
    return {"format": 1, **identity, "clean": clean, "machines": [], "corruptions": {}, **about}


def _corruption(evaluator: Evaluator, folder: Path | None, test: Split, name: str) -> dict[str, Any]:
    """Accuracy in percent and masks at each severity, and the hash of each severity's images."""
    began, masks, hashes = time.monotonic(), [], []
    for severity in SEVERITIES:
        stopping.check()
        if folder is None:
            images = made.corrupted(evaluator.test.images, name, severity, evaluator.evaluations.seed)
        else:
            images = official.images(folder, name, severity, test, len(evaluator.test.labels))
        masks.append(_right(evaluator, images))
        hashes.append(Split(images, evaluator.test.labels).sha256())
    return {
        "accuracy": [percent(mask) for mask in masks],
        "masks": [packed(mask.cpu().numpy()) for mask in masks],
        "images_sha256": hashes,
        "seconds": time.monotonic() - began,
    }


@torch.no_grad()
def _right(evaluator: Evaluator, images: Tensor) -> Tensor:
    """(N,) which of these images (N, C, H, W) uint8 are classified correctly."""
    found, size = [], evaluator.evaluations.batch_size
    for x, label in zip(images.split(size), evaluator.test.labels.split(size), strict=True):
        logits = evaluator.model(to_float(x.to(evaluator.device)))
        known = checks.finite(checks.logits(logits, len(x), evaluator.dataset.num_classes))
        found.append(known.argmax(1).cpu() == label.cpu())
    return torch.cat(found)


def _write(path: Path, record: dict[str, Any]) -> None:
    check_there(path.parent)
    try:
        write_json(path, sealed(record))
    except OSError as fault:
        raise unwritten(path, fault) from None
