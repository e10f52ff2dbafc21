"""Training one or several seeds of a plan into their run folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from robench_fire.costs import account
from robench_fire.data import extra_images, fetching
from robench_fire.data.batches import batches_per_epoch
from robench_fire.devices import determinism, torchrun
from robench_fire.devices.meters import energy_counter
from robench_fire.devices.precision import resolve
from robench_fire.devices.process_group import ALONE, ProcessGroup
from robench_fire.errors import DataError, RecipeError
from robench_fire.files import replaced, sha256
from robench_fire.launching.trackers import Tracked
from robench_fire.models import names
from robench_fire.models.own import code, text
from robench_fire.models.stacked import cannot_stack
from robench_fire.problem.dataset import Split, Splits
from robench_fire.problem.plan import fingerprint
from robench_fire.progress import NOTE, Report
from robench_fire.runs import provenance
from robench_fire.runs.compose import Composed, Request
from robench_fire.runs.differences import by_hand, departures
from robench_fire.runs.folders import Run, read_array
from robench_fire.statistics.curves import signs
from robench_fire.statistics.summary import percent
from robench_fire.training import pseudo_labels, saving
from robench_fire.training.engine import Trained, train_together
from robench_fire.training.setup import Problem, refuses_together

ENERGY = "energy.json"  # what an unfinished training has spent so far
PSEUDO_LABELS = "pseudo_labels.npy"
STATES = ("state.pt", "labeller.state.pt")
UNFINISHED = (*(saving.previous(Path(each)).name for each in STATES), *STATES, ENERGY)
"""Files that only an unfinished training needs, in the order of their removal: the newest state is there to the end."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a run happens: its output folder, the data folder, the device, and whether torch.compile is used there.

    ``log``: where else each run's curve goes, see trackers. ``save_every``: seconds between two saves of a state.
    ``streaming``: whether batches of images are copied to the device one by one, see data.pool; None: where they do not
    fit. ``deterministic``: see devices.determinism; ``threads``: by how many a training on a CPU then computes.
    """

    output: Path
    data: Path
    device: str
    compiling: bool = False
    log: tuple[str, ...] = ()
    save_every: float = saving.EVERY
    streaming: bool | None = None
    deterministic: bool = False
    threads: int = 1


def workplace(
    output: Path, data: Path | None, device: torch.device, compiling: bool | None = None, log: Sequence[str] = (),
    save_every: float = saving.EVERY, streaming: bool | None = None, deterministic: bool | None = None,
) -> Workplace:  # fmt: skip
    """A place with what is usual there: the user's data folder, and torch.compile on a GPU.

    With DistributedDataParallel compilation is not measured, and not used unless it is asked for.
    """
    usual = device.type == "cuda" and torchrun.count() == 1
    return Workplace(
        output=output, data=data or fetching.data_folder(), device=str(device),
        compiling=usual if compiling is None else compiling, log=tuple(log), save_every=save_every, streaming=streaming,
        deterministic=determinism.wanted(deterministic, device), threads=determinism.threads(),
    )  # fmt: skip


def train_runs(
    runs: Sequence[Run], composed: Composed, request: Request, splits: Splits, device: torch.device, place: Workplace,
    report: Report, group: ProcessGroup = ALONE,
) -> None:  # fmt: skip
    """Train seeds that have got equally far, side by side if they are several; their folders are held by the caller.

    Raises:
        RobenchError: whatever stops the training; finished epochs stay.
    """
    share = len(runs)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with ExitStack() as open_:
        open_.enter_context(determinism.deterministic(place.deterministic, device, place.threads))
        spent = [
            _session(run, composed, request, device, group, share, report) if group.first else lambda: None
            for run in runs
        ]
        started = time.perf_counter()
        problem, facts = _problem(runs[0], composed, request, splits, device, place, report, group)
        tracked = _tracked(runs, problem, place.log, open_) if group.first else []
        epoch_done = partial(_epoch_done, runs, tracked) if group.first else lambda number, curve: None
        shown = (lambda number, epoch, *pair: tracked[number].pictures(epoch, *pair)) if tracked else None
        trained = train_together(
            composed.build, problem, seeds=[run.seed for run in runs], device=device,
            state_files=[run.folder / "state.pt" for run in runs], streaming=place.streaming,
            progress=lambda done, total, note: report("train", done, total, note), epoch_done=epoch_done,
            compiling=place.compiling, group=group, say=lambda text: report(NOTE, 0, 1, text), pictures=shown,
            save_every=place.save_every, saved=partial(_noted, spent),
        )  # fmt: skip
    facts |= {"last_session_seconds": (time.perf_counter() - started) / share}
    for run, each, joules in zip(runs, trained, [joules() for joules in spent], strict=True):
        if group.first:
            about = {"plan": fingerprint(composed.plan), **account.facts(composed.build, problem, each, device)}
            about |= facts | {"energy_joules": joules}
            if wrong := signs(each.curve, problem.num_classes):
                report(NOTE, 0, 1, f"seed {run.seed}: {'; '.join(wrong)}")
                about["signs"] = wrong
            _record(run, each, about)


def _epoch_done(runs: Sequence[Run], tracked: Sequence[Tracked], number: int, curve: list[dict[str, float]]) -> None:
    """Keep what a seed's epoch brought, and tell its trackers."""
    runs[number].write_curve(curve)
    for each in tracked[number : number + 1]:
        each.epoch_done(curve)


def _noted(spent: Sequence[Callable[[], float | None]]) -> None:
    """Keep what each seed has spent."""
    for each in spent:
        each()


def _tracked(runs: Sequence[Run], problem: Problem, log: Sequence[str], open_: ExitStack) -> list[Tracked]:
    """The trackers of each run, none where none are asked for; closed when the stack is."""
    images = batches_per_epoch(problem.recipe, len(problem.train.labels)) * problem.recipe.batch_size
    found = [Tracked(run, log, images) for run in runs] if log else []
    for each in found:
        open_.callback(each.close)
    return found


def check_together(composed: Composed) -> None:
    """Whether several seeds of a plan can be trained side by side.

    Raises:
        RecipeError: if they cannot.
    """
    recipe = composed.plan.recipe
    if recipe.extra and recipe.extra.source == "hidden":
        raise RecipeError(f"{composed.plan.name} labels images anew for every seed; leave out --together")
    with torch.random.fork_rng([]):
        model = composed.build()
    why = refuses_together(composed.plan.defense, model)
    if not why and (recipe.arch.startswith("timm/") or text.read(recipe.arch)):  # of bundled ones it is known
        why = cannot_stack(model, composed.dataset.shape)
    if why:
        raise RecipeError(f"several seeds cannot be trained at once: {why}; leave out --together")


def _record(run: Run, trained: Trained, about: dict[str, Any]) -> None:
    """Write what makes a run trained; its last file says that it is."""
    sessions = run.read("provenance.json")["sessions"]
    if len({tuple(str(each.get(name)) for name in ("device", "processes", "threads")) for each in sessions}) > 1:
        about["mfu"] = None  # a rate over two kinds of devices is no part of what one of them reaches
    run.write_curve(trained.curve)  # a kill between the last state and the last row would otherwise lose the row
    with replaced(run.weights) as partial:
        partial.write_bytes(save({name: value.contiguous() for name, value in trained.weights.items()}))
    about |= {"weights_sha256": sha256(run.weights), "curve_sha256": sha256(run.folder / "curve.jsonl")}
    if (labels := run.folder / PSEUDO_LABELS).exists():
        about |= {"pseudo_labels_sha256": sha256(labels)}
    run.write("train.json", {"seed": run.seed, **about})


def _session(
    run: Run, composed: Composed, request: Request, device: torch.device, group: ProcessGroup, share: int,
    report: Report,
) -> Callable[[], float | None]:  # fmt: skip
    """Record a session of a training; what its devices have spent since it began, shared by ``share`` seeds."""
    sessions = _record_session(run, composed, request, device, group)
    if other := provenance.other_sums(sessions):
        report(NOTE, 0, 1, f"seed {run.seed} {other}")
    first = len(sessions) == 1
    counters = [energy_counter(each) for each in torchrun.local_devices(device)]
    known = [each for each in counters if each is not None]
    every = (lambda: sum(each() for each in known) / share) if known and len(known) == len(counters) else None
    return account.energy_account(run.folder / ENERGY, first, every)


def _record_session(
    run: Run, composed: Composed, request: Request, device: torch.device, group: ProcessGroup
) -> list[dict[str, Any]]:
    """Say who trains this, with what, on what: every session; a resumed run keeps those that it has."""
    usual = next(threat.eps for threat in composed.dataset.recipes if threat.norm == composed.plan.claim.norm)
    about = {
        "paper": composed.paper._asdict() | {"reported": [each._asdict() for each in composed.paper.reported]},
        "architecture": names.display_name(composed.plan.recipe.arch),
        "usual_eps": str(usual),
        "by_hand": by_hand(request),
        "departures": departures(composed, request),
    }
    if network := text.read(composed.plan.recipe.arch):
        about["network"] = code.copy(network, run.folder)
    known = run.read("provenance.json")["sessions"] if (run.folder / "provenance.json").exists() else []
    formats = asdict(resolve(composed.plan.recipe, device))
    session = provenance.describe(device) | {"processes": group.size, "arithmetic": formats}
    sessions = [*known, session]
    run.write("provenance.json", about | {"sessions": sessions})
    return sessions


def _problem(
    run: Run, composed: Composed, request: Request, splits: Splits, device: torch.device, place: Workplace,
    report: Report, group: ProcessGroup,
) -> tuple[Problem, dict[str, Any]]:  # fmt: skip
    """What is trained, with its pseudo-labelled images, and what the record should say about them."""
    plan = composed.plan
    problem = Problem(
        plan.defense, plan.threat, plan.recipe, splits.train, splits.validation, composed.dataset.num_classes,
        begin=composed.begin, teacher=composed.teacher,
    )  # fmt: skip
    asked = plan.recipe.extra
    if asked is None:
        return problem, {}
    if asked.source == "file":
        assert request.extra_data is not None
        images = _extra(request.extra_data, composed, splits)
        return _extended(problem, problem.train, images), {"extra_images": len(images.labels)}
    hidden = pseudo_labels.hide(problem.train, asked.hidden)
    stored = run.folder / PSEUDO_LABELS
    if not group.agreed(stored.exists):
        labelled = _extended(problem, hidden.labelled, None)
        state_file = run.folder / "labeller.state.pt"
        labels, trained = pseudo_labels.label(
            composed.build, labelled, hidden.images, seed=run.seed, device=device, state_file=state_file,
            progress=lambda done, total, note: report("pseudo-labels", done, total, note), group=group,
            save_every=place.save_every, streaming=place.streaming, say=lambda text: report(NOTE, 0, 1, text),
        )  # fmt: skip
        if group.first:
            accuracy = percent(labels == hidden.truth)
            flops = account.training_flops(composed.build, pseudo_labels.standard(labelled))
            run.write("labeller.json", {"seconds": trained.seconds["train"], "accuracy": accuracy, "flops": flops})
            with replaced(stored) as partial, open(partial, "wb") as file:
                np.save(file, labels.numpy(), allow_pickle=False)
    labels = group.agreed(lambda: _labels(stored, len(hidden.images), composed.dataset.num_classes))
    facts = {"extra_images": len(labels), "labeller": group.agreed(lambda: run.read("labeller.json"))}
    return _extended(problem, hidden.labelled, Split(hidden.images, labels)), facts


def _labels(path: Path, count: int, num_classes: int) -> torch.Tensor:
    """The pseudo-labels (``count``,) that were stored."""
    found = read_array(path)
    if found.dtype != np.int64 or found.shape != (count,) or not 0 <= found.min() <= found.max() < num_classes:
        said = f"{count:,} class numbers below {num_classes}"
        raise DataError(f"{path} holds {found.dtype} {found.shape} where {said} were expected; move it away")
    return torch.from_numpy(found)


def _extra(file: Path, composed: Composed, splits: Splits) -> Split:
    """The images of a file, none of which is held out for test or validation."""
    images = extra_images.load(file, composed.dataset.shape, composed.dataset.num_classes)
    extra_images.refuse_shared(file, images.images, {"test": splits.test, "validation": splits.validation})
    return images


def _extended(problem: Problem, labelled: Split, images: Split | None) -> Problem:
    return replace(problem, train=labelled, extra=images)
