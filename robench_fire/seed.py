"""One seed of one plan, from data to masks on disk. Every stage that is already there is left as it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from robench_fire import archs, extra, fetch, provenance, pseudo
from robench_fire.assess import evaluate_subject, is_judged
from robench_fire.assessor import Evaluations
from robench_fire.compose import Composed, Request, by_hand, compose
from robench_fire.cost import forward_equivalents
from robench_fire.dataset import Split, Splits
from robench_fire.devices import use
from robench_fire.engine import Problem, Trained, train
from robench_fire.files import replaced, sha256
from robench_fire.plan import fingerprint, to_plain
from robench_fire.reporting import Report
from robench_fire.runs import Run
from robench_fire.stats import percent
from robench_fire.subjects import subject_of


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a run happens: its output folder, the data folder and the device."""

    output: Path
    data: Path
    device: str


def run_folder(composed: Composed, output: Path, seed: int) -> Run:
    """Where a seed's files lie."""
    plan = composed.plan
    return Run(output / plan.dataset / plan.threat.norm / plan.name / fingerprint(plan) / f"seed-{seed}")


def run_seed(request: Request, seed: int, evaluations: Evaluations, place: Workplace, report: Report) -> None:
    """Train one seed if it is not trained, then evaluate it if it is not evaluated.

    Raises:
        RobenchError: whatever stops the run; everything finished before stays.
    """
    composed = compose(request)
    run = run_folder(composed, place.output, seed)
    splits = fetch.splits(composed.plan.dataset, composed.dataset, place.data)
    device = torch.device(place.device)
    use(device)
    with run.locked():
        if not (run.folder / "plan.json").exists():
            run.write("plan.json", to_plain(composed.plan))
        if not run.trained:
            _train(run, composed, request, splits, device, report)
        _tidy(run)
        evaluate_subject(subject_of(run), splits.test, evaluations, device, report, judge=False)


def all_judged(run: Run, attacks: Sequence[str]) -> bool:
    """Whether every evaluation of a run at its own radii has a verdict that saw the seeds that are trained now."""
    if not attacks:
        return True
    plan = run.read("plan.json")
    own = [(plan[name]["kind"], plan[name]["eps"]) for name in ("claim", "threat")]
    made = [each for each in run.evaluations() if (each["norm"], each["eps"]) in own]
    wanted = [each for each in made if each["attack"] in attacks]
    return all(is_judged(each, run.siblings()) for each in wanted)


def judge_seed(request: Request, seed: int, evaluations: Evaluations, place: Workplace, report: Report) -> None:
    """Check how far a seed's evaluations can be believed, once all seeds are trained."""
    composed = compose(request)
    run = run_folder(composed, place.output, seed)
    device = torch.device(place.device)
    use(device)
    test = fetch.splits(composed.plan.dataset, composed.dataset, place.data).test
    with run.locked():
        evaluate_subject(subject_of(run), test, evaluations, device, report)


def _tidy(run: Run) -> None:
    """Remove what only an unfinished training needs, and what a killed process left half-written."""
    for left in (run.folder / "state.pt", run.folder / "labeller.state.pt", *run.folder.glob(".*.partial")):
        left.unlink(missing_ok=True)


def _train(
    run: Run, composed: Composed, request: Request, splits: Splits, device: torch.device, report: Report
) -> None:
    plan = composed.plan
    _record_session(run, composed, request, device)
    problem = Problem(
        plan.defense, plan.threat, plan.recipe, splits.train, splits.validation, composed.dataset.num_classes
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    problem, facts = _with_extra(run, problem, composed, request, device, report)
    trained = train(
        composed.build,
        problem,
        seed=run.seed,
        device=device,
        state_file=run.folder / "state.pt",
        progress=lambda done, total, note: report("train", done, total, note),
        epoch_done=run.write_curve,
    )
    run.write_curve(trained.curve)  # a kill between the last state and the last row would otherwise lose the row
    with replaced(run.weights) as partial:
        save_file({name: value.contiguous() for name, value in trained.weights.items()}, partial)
    facts |= {"weights_sha256": sha256(run.weights)}
    run.write("train.json", _training_facts(problem, trained, started, device) | facts)


def _record_session(run: Run, composed: Composed, request: Request, device: torch.device) -> None:
    """Say who trains this, with what, on what; a resumed run keeps what it began with and adds a session."""
    usual = next(threat.eps for threat in composed.dataset.recipes if threat.norm == composed.plan.claim.norm)
    about = {
        "paper": composed.paper._asdict() | {"reported": [each._asdict() for each in composed.paper.reported]},
        "architecture": archs.display_name(composed.plan.recipe.arch),
        "usual_eps": str(usual),
        "by_hand": by_hand(request),
    }
    known = run.read("provenance.json")["sessions"] if (run.folder / "provenance.json").exists() else []
    run.write("provenance.json", about | {"sessions": [*known, provenance.describe(device)]})


def _training_facts(problem: Problem, trained: Trained, started: float, device: torch.device) -> dict[str, Any]:
    seconds = trained.seconds
    images = len(trained.curve) * len(problem.train.labels)
    return {
        "seconds": seconds["train"],
        "sections": {name: value for name, value in seconds.items() if name != "train"},
        "last_session_seconds": time.perf_counter() - started,
        "images_per_second": images / seconds["train"],
        "forward_equivalents": forward_equivalents(problem.defense, problem.recipe),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "final": trained.curve[-1],
    }


def _with_extra(
    run: Run, problem: Problem, composed: Composed, request: Request, device: torch.device, report: Report
) -> tuple[Problem, dict[str, Any]]:
    """The problem with its pseudo-labelled images, and what the record should say about them."""
    asked = problem.recipe.extra
    if asked is None:
        return problem, {}
    if asked.source == "file":
        assert request.extra_data is not None
        images = extra.load(request.extra_data, composed.dataset.shape, composed.dataset.num_classes)
        return _extended(problem, problem.train, images), {"extra_images": len(images.labels)}
    hidden = pseudo.hide(problem.train, asked.hidden)
    stored = run.folder / "pseudo_labels.npy"
    if not stored.exists():
        labelled = _extended(problem, hidden.labelled, None)
        state_file = run.folder / "labeller.state.pt"
        labels, trained = pseudo.label(
            composed.build, labelled, hidden.images, seed=run.seed, device=device, state_file=state_file,
            progress=lambda done, total, note: report("pseudo-labels", done, total, note),
        )  # fmt: skip
        accuracy = percent(labels == hidden.truth)
        run.write("labeller.json", {"seconds": trained.seconds["train"], "accuracy": accuracy})
        with replaced(stored) as partial, open(partial, "wb") as file:
            np.save(file, labels.numpy(), allow_pickle=False)
    labels = torch.from_numpy(np.load(stored, allow_pickle=False))
    facts = {"extra_images": len(labels), "labeller": run.read("labeller.json")}
    return _extended(problem, hidden.labelled, Split(hidden.images, labels)), facts


def _extended(problem: Problem, labelled: Split, images: Split | None) -> Problem:
    return Problem(
        problem.defense, problem.threat, problem.recipe, labelled, problem.validation, problem.num_classes, images
    )
