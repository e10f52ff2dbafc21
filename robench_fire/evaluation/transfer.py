"""Black-box robustness: what images perturbed on one defense do to the others, and what Square does alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.device import use
from robench_fire.devices.random_streams import generator
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.autoattack.attacked_model import PLAIN, AttackedModel, attacked_model
from robench_fire.files import sealed, write_json
from robench_fire.problem.dataset import head
from robench_fire.problem.pgd import Pgd
from robench_fire.progress import Event, Listen, Listening
from robench_fire.quantity import Quantity
from robench_fire.runs import folders
from robench_fire.runs.evaluations import evaluation_name, pick
from robench_fire.runs.folders import Run
from robench_fire.runs.model_source import source_of
from robench_fire.statistics.summary import mean_std, percent

Plans = Mapping[str, Sequence[Run]]
"""The trained seeds of each defense, by its name in papers."""
ALONE = ("square", "aa")  # evaluations that the matrix is shown with


def transfer(
    folder: Path, examples: int | None, seed: int, data: Path, device: torch.device, listening: Listening
) -> dict[str, Any]:
    """Robust accuracy of every defense under ``folder`` on images that PGD-20 perturbed on every other one.

    Each seed of the source attacks the next seed of the target, so that no pair shares its initial weights. An image
    counts as robust if it is classified correctly both clean and perturbed. Written beside the runs.

    Raises:
        DataError: if there are no trained runs.
        UsageError: if they are of several data sets or claim several threat models.
    """
    plans = _plans(folder)
    first = source_of(next(iter(plans.values()))[0])
    dataset = first.parts()
    use(device)
    test = head(fetching.splits(first.dataset, dataset, data).test, examples or dataset.examples).to(device)
    images = to_float(test.images)
    how = {"num_classes": dataset.num_classes, "seed": seed, "batch_size": folders.BATCH_SIZE}

    @cache
    def attacked(run: Run) -> AttackedModel:
        return attacked_model(source_of(run).load(device), images, test.labels, first.claim, **how)[0]

    with listening(len(plans), "sources") as listen:
        found = {source: _row(source, plans, attacked, listen) for source in plans}
    facts = {
        "format": 1,
        "attack": "pgd20",
        "norm": first.claim.norm,
        "eps": str(first.claim.eps),
        "examples": len(test.labels),
        "seed": seed,
        "weights_sha256": {name: _hashes(models) for name, models in plans.items()},
        "transfer": found,
        "alone": {name: _alone(plans, name, first.claim, len(test.labels)) for name in ALONE},
    }
    name = evaluation_name("transfer", first.claim.norm, str(first.claim.eps), len(test.labels), seed)
    write_json(folder / f"{name}.json", sealed(facts))
    return facts


def _hashes(models: Sequence[Run]) -> dict[str, str]:
    return {str(run.seed): run.read("train.json")["weights_sha256"] for run in models}


def _row(
    source: str, plans: Plans, attacked: Callable[[Run], AttackedModel], listen: Listen
) -> dict[str, dict[str, Any] | None]:
    """What every target makes of the images that each seed of ``source`` perturbed."""
    models, images, found = plans[source], [], {}
    for number, run in enumerate(models):
        listen(Event(source, "transfer", number, len(models), ""))
        images.append(perturbed(attacked(run), run.seed))
    for target, others in plans.items():
        met = [(x_adv, _next(others, run.seed)) for x_adv, run in zip(images, models, strict=True)]
        found[target] = _summary([_robust(attacked(other), x_adv) for x_adv, other in met if other is not None])
    listen(Event(source, "done", 1, 1, ""))
    return found


def _next(runs: Sequence[Run], seed: int) -> Run | None:
    """The run of the next higher seed, or of the lowest; None if there is none but ``seed`` itself."""
    others = [run for run in runs if run.seed != seed]
    return min(others, key=lambda run: (run.seed < seed, run.seed), default=None)


def _plans(folder: Path) -> dict[str, list[Run]]:
    found: defaultdict[tuple[str, Path], list[Run]] = defaultdict(list)
    kinds = set()
    for run in folders.find(folder):
        if run.trained:
            plan = run.read("plan.json")
            images = f" ({folders.images_of(plan)})" if plan.get("data") else ""
            kinds.add((plan["dataset"] + images, plan["claim"]["kind"], plan["claim"]["eps"]))
            found[run.read("provenance.json")["paper"]["method"], run.folder.parent].append(run)
    if not found:
        raise DataError(f"{folder} holds no trained run; `robench ls runs` lists them")
    if len(kinds) > 1:
        listed = "; ".join(" ".join(each) for each in sorted(kinds))
        raise UsageError(f"{folder} holds runs of several kinds ({listed}); name one of its folders")
    names = [method for method, _ in found]
    return {
        method if names.count(method) == 1 else f"{method} {path.name}": models
        for (method, path), models in found.items()
    }


def perturbed(attacked: AttackedModel, seed: int) -> torch.Tensor:
    """All images under PGD-20 on cross-entropy, as the evaluation of that name runs it."""
    steps, parts_of_eps, start, gain = PLAIN["pgd20"]
    pgd = Pgd(steps=steps, step=Quantity(float(attacked.threat.eps) / parts_of_eps), start=start)
    parts = []
    for number in range(attacked.blocks):
        x, label = attacked.block(number)
        draw = generator(x.device, attacked.seed, "transfer", seed, number)
        parts.append(pgd(attacked.forward, gain(label), x, attacked.threat, draw))
    return torch.cat(parts)


def _robust(attacked: AttackedModel, x_adv: torch.Tensor) -> float:
    return percent(attacked.correct(attacked.images, attacked.labels) & attacked.correct(x_adv, attacked.labels))


def _summary(values: Sequence[float]) -> dict[str, Any] | None:
    return {**mean_std(values)._asdict(), "values": list(values)} if values else None


def _alone(plans: Plans, attack: str, claim: Any, examples: int) -> dict[str, dict[str, Any] | None]:
    """An attack's robust accuracy per defense, where every seed has its usual evaluation on these images."""
    at, chosen = {"kind": claim.norm, "eps": str(claim.eps)}, (attack, examples, 0, folders.BATCH_SIZE, "")
    made = {name: [pick(run.evaluations(), at, chosen) for run in models] for name, models in plans.items()}
    return {name: _summary([each["robust"] for each in found if each]) if all(found) else None
            for name, found in made.items()}  # fmt: skip
