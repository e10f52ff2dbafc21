"""Running what is missing of an evaluation of a user's own model, and keeping it in a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from robench_fire.api.evaluation import Evaluation
from robench_fire.api.inputs import Given
from robench_fire.devices.random_streams import derive
from robench_fire.evaluation import record, reliability, reliability_text
from robench_fire.evaluation.autoattack.attack_sets import VERSION, Attack
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel, attacked_model
from robench_fire.evaluation.autoattack.units import here
from robench_fire.evaluation.evaluate import Save, attacks_of, fill, result
from robench_fire.evaluation.record import Record
from robench_fire.problem.dataset import Split
from robench_fire.problem.threat import Threat
from robench_fire.progress import Report
from robench_fire.runs import provenance
from robench_fire.runs.evaluations import evaluation_name
from robench_fire.statistics.summary import percent, wilson


class Asked(NamedTuple):
    """Which ``attacks`` to make, and what their sets are called together."""

    name: str
    attacks: tuple[Attack, ...]
    threat: Threat
    seed: int
    batch_size: int

    @property
    def own(self) -> dict[str, str]:
        """By name, the hash of the code of those that are the user's own."""
        return {each.name: each.own.sha256 for each in self.attacks if each.own}

    def complete(self, num_classes: int) -> str:
        """The set that a verdict can rest on, if all its attacks are among these; else all names."""
        sets = reversed(reliability.COMPLETE)
        whole = [each for each in sets if {*attacks_of(each, num_classes)} <= {*self.attacks}]
        return whole[0] if whole else self.name


def run(own: Given, asked: Asked, folder: Path | None, report: Report) -> Evaluation:
    """The evaluation: read from ``folder``, continued there, or made anew.

    Raises:
        DataError: if the model returns anything but finite logits, or the folder holds another model's evaluation.
    """
    attacked, signs = attacked_model(
        own.model, own.images, own.labels, asked.threat, num_classes=own.num_classes, seed=asked.seed,
        batch_size=asked.batch_size,
    )  # fmt: skip
    signs = [each for each in signs if each != "randomised" or "aa-rand" not in asked.name.split("+")]
    identity = _identity(own, asked, attacked)
    if folder is None:
        return _made(Record(identity, flags={*signs}), attacked, asked, lambda name, ended: None, report)
    count = len(own.labels)
    stem = evaluation_name(asked.name, asked.threat.norm, str(asked.threat.eps), count, asked.seed, asked.batch_size)
    path, state = folder / f"{stem}.json", folder / f"{stem}.state"
    with record.locked(state, "choose another folder"):
        if path.exists():
            found = Evaluation.read(path)
            record.check_identity(path, found.facts, identity)
            return found
        begun = Record(identity)
        if state.exists():
            begun = record.read(state, identity, [each.name for each in asked.attacks])
        begun.flags |= {*signs}
        found = _made(begun, attacked, asked, lambda name, ended: begun.write(state), report)
        found.write(path)
        state.unlink(missing_ok=True)
    return found


def _made(begun: Record, attacked: AttackedModel, asked: Asked, save: Save, report: Report) -> Evaluation:
    """What a record comes to once every unit is done."""
    begun.sessions += 1
    begun.machines.add(f"torch {torch.__version__} on {provenance.device_name(attacked.images.device)}")
    fill(begun, attacked, asked.attacks, here(attacked), save, report)
    found, complete = result(begun), asked.complete(attacked.num_classes)
    flags = [each for each in found.flags if each != reliability_text.SQUARE or complete in reliability.COMPLETE]
    low, high = wilson(int(found.robust.sum()), len(found.robust))
    facts: dict[str, Any] = {
        **begun.identity,
        "clean": percent(found.clean),
        "robust": percent(found.robust),
        "robust_interval": [low, high],
        "after": found.after,
        "attack_seconds": found.seconds,
        "seconds": sum(found.seconds.values()),
        "largest_perturbation": found.largest,
        "flags": flags,
        **({"uncounted": found.uncounted._asdict()} if asked.own else {}),
        "sessions": begun.sessions,
        "machines": sorted(begun.machines),
        "versions": provenance.versions(),
    }
    report("reliability", 0, 1, "")
    clean, robust = (torch.from_numpy(each).to(attacked.images.device) for each in (found.clean, found.robust))
    verdict = reliability.judged(complete, attacked, clean, robust, reliability_text.signs(facts), [])
    if complete in reliability.COMPLETE:
        verdict = reliability.with_own(verdict, _broken_besides(begun, asked, complete), len(found.robust))
    report("reliability", 1, 1, str(verdict["verdict"]))
    return Evaluation(found.clean, found.robust, facts | {"reliability": verdict})


def _identity(own: Given, asked: Asked, attacked: AttackedModel) -> dict[str, str | int]:
    """What an evaluation is bound to. Weights alone do not say what a model does to images before it uses them."""
    return {
        "attack": asked.name,
        "version": VERSION,
        "norm": asked.threat.norm,
        "eps": str(asked.threat.eps),
        "seed": asked.seed,
        "examples": len(own.labels),
        "batch_size": asked.batch_size,
        "num_classes": own.num_classes,
        "images_sha256": Split(own.images, own.labels).sha256(),
        "weights_sha256": _weights(own.model),
        "predictions_sha256": _predictions(attacked),
        **({"attack_sha256": " ".join(asked.own.values())} if asked.own else {}),
    }


def _broken_besides(whole: Record, asked: Asked, complete: str) -> dict[str, int]:
    """By name, how many images attacks of the user's own broke after all of AutoAttack's; each attacks what is left."""
    names = [each.name for each in asked.attacks]
    ours = {each.name for each in attacks_of(complete, int(whole.identity["num_classes"]))}
    last = max(at for at, name in enumerate(names) if name in ours)
    blocks = whole.blocks.values()
    left = [sum(int(block.after[name].sum()) for block in blocks) for name in names]
    return {name: left[at - 1] - left[at] for at, name in enumerate(names) if at > last and name in asked.own}


def _weights(model: nn.Module) -> str:
    """Of every tensor that a module keeps; "" where it keeps none, as of a function."""
    digest, state = hashlib.sha256(), model.state_dict()
    for name, value in state.items():
        digest.update(f"{name} ".encode())
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest() if state else ""


def _predictions(attacked: AttackedModel) -> str:
    """Of the class of every image; a model that draws random numbers draws the same each time."""
    cuda = [attacked.images.device] if attacked.images.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), torch.no_grad():
        torch.manual_seed(derive(attacked.seed, "predictions"))
        found = [attacked.model(attacked.block(number)[0]).argmax(1) for number in range(attacked.blocks)]
    return hashlib.sha256(torch.cat(found).cpu().numpy().tobytes()).hexdigest()
