"""The images that broke a model: one file for each (attack, block) while an evaluation runs, one for all in the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from robench_fire.errors import DataError, unwritten
from robench_fire.evaluation.record import Record
from robench_fire.files import replaced
from robench_fire.quantity import same
from robench_fire.runs.folders import BATCH_SIZE, Run


def keep(folder: Path, number: int, attack: str, weights: str, index: NDArray[Any], found: NDArray[Any]) -> None:
    """Store what an attack broke of a block: ``found`` (M, C, H, W), and their places ``index`` (M,) in the block.

    ``weights``: the hash of the model's, so that nothing left by another one is ever taken for this one's.

    Raises:
        RobenchError: if it cannot be written.
    """
    try:
        with replaced(_part(folder, number, attack, weights)) as partial:
            partial.write_bytes(save({"index": index, "images": found}))
    except OSError as fault:
        raise unwritten(folder, fault) from None


def _part(folder: Path, number: int, attack: str, weights: str) -> Path:
    return folder / f"{number}-{attack}-{weights[:12]}.safetensors"


def gather(folder: Path, record: Record, order: NDArray[Any], path: Path) -> list[str]:
    """Join what ``keep`` stored of a complete record into the file ``path``; the names of parts that are missing.

    ``order`` (N,): which test image stands at each place of the record.
    Without all parts there is no file, and what an older evaluation left at ``path`` is removed.
    """
    index, images, missing = [np.zeros(0, np.int64)], [], []
    for number, block in sorted(record.blocks.items()):
        before, first = block.clean, number * int(record.identity["batch_size"])
        for attack, after in block.after.items():
            broken = np.flatnonzero(before & ~after)
            before = after
            part = _part(folder, number, attack, str(record.identity["weights_sha256"]))
            found = load_file(part) if part.exists() else {"index": np.array([-1])}
            if not np.array_equal(found["index"], broken):
                missing.append(part.name)
            elif len(broken):
                index.append(order[first + broken])
                images.append(found["images"])
    path.unlink(missing_ok=True)
    if not missing:
        together = np.concatenate(images) if images else np.zeros((0, 0, 0, 0), np.float32)
        with replaced(path) as partial:
            partial.write_bytes(save({"index": np.concatenate(index), "images": together}))
    return missing


def clear(folder: Path) -> None:
    """Remove the parts, once they are joined."""
    shutil.rmtree(folder, ignore_errors=True)


def read(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """(M,) the numbers of the test images that were broken, and (M, C, H, W) what broke them, floats in [0, 1].

    Raises:
        DataError: if there is no such file, or it cannot be read.
    """
    try:
        found = load_file(path)
        return found["index"], found["images"]
    except FileNotFoundError:
        stem = path.name.removesuffix(".adv.safetensors")
        raise DataError(
            f"{path} is missing; move {stem}.json and .npy beside it away and evaluate again, which keeps the images"
        ) from None
    except Exception as fault:  # whatever safetensors raises on a broken file
        raise DataError(f"{path} cannot be read ({type(fault).__name__}); move it away and evaluate again") from None


class Predicted(NamedTuple):
    """What a model says of test images (N, C, H, W) in [0, 1], and of those that AutoAttack broke.

    ``said``: (N, K) probabilities. ``broken`` (M,): which ones; ``perturbed`` (M, C, H, W) and ``said_then`` (M, K).
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    said: NDArray[Any]
    broken: NDArray[Any]
    perturbed: NDArray[Any]
    said_then: NDArray[Any]


def predicted(run: Run, data: Path) -> Predicted:
    """Of a trained seed and its largest AutoAttack at the claimed radius. On the CPU; nothing is attacked.

    Raises:
        DataError: if there is no such evaluation, or its images, the weights or the data set are not here.
    """
    import torch

    from robench_fire.data import fetching
    from robench_fire.data.batches import to_float
    from robench_fire.problem.dataset import head
    from robench_fire.runs.model_source import source_of

    claim = run.read("plan.json")["claim"]
    found = [each for each in run.evaluations() if each["attack"] == "aa" and each["norm"] == claim["kind"]
             and same(each["eps"], claim["eps"])]  # fmt: skip
    if not found:
        raise DataError(
            f"{run.folder} has no AutoAttack at its radius; `robench eval {run.folder} --attack aa` makes it"
        )
    facts = max(found, key=lambda each: int(each["examples"]))
    index, perturbed = read(run.folder / f"eval.{facts['name']}.adv.safetensors")
    source = source_of(run)
    test = head(fetching.splits(source.dataset, source.parts(), data).test, facts["examples"])
    model, images = source.load(torch.device("cpu")), to_float(test.images)
    order = np.argsort(index)
    index, perturbed = index[order], perturbed[order].reshape(-1, *images.shape[1:])

    def said(these: torch.Tensor) -> NDArray[Any]:
        with torch.no_grad():
            parts = [model(part).softmax(1) for part in these.split(BATCH_SIZE)]
        return torch.cat(parts).double().numpy() if parts else np.zeros((0, source.parts().num_classes))

    return Predicted(images.numpy(), test.labels.numpy(), said(images), index, perturbed,
                     said(torch.from_numpy(perturbed)))  # fmt: skip
