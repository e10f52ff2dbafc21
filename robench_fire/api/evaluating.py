"""Attacking any model: what is asked, and whether it can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robench_fire.api import units
from robench_fire.api.evaluation import Evaluation
from robench_fire.api.inputs import given, threat_of
from robench_fire.api.speaking import KEPT, Source, called, voices
from robench_fire.errors import DataError, UsageError, unknown
from robench_fire.evaluation.autoattack.attack_sets import LEAST_CLASSES, Attack
from robench_fire.evaluation.evaluate import KNOWN, SETS, attacks_of
from robench_fire.evaluation.own_attacks import attack as own_attacks
from robench_fire.evaluation.own_attacks.attack import Function
from robench_fire.launching.local import ending, reporter
from robench_fire.problem.threat import Threat
from robench_fire.runs.folders import BATCH_SIZE

NAME = "evaluation"  # as progress calls it
UNKEPT = "interrupted; with folder=... an evaluation can be continued"


def evaluate(
    model: nn.Module | Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, threat: Threat,
    attacks: str | Function | Sequence[str | Function] = "standard", seed: int = 0, batch_size: int = BATCH_SIZE,
    num_classes: int | None = None, device: str | None = None, folder: Source | None = None, progress: bool = True,
) -> Evaluation:  # fmt: skip
    """Attack any model, a module or a function, and judge the result (AutoAttack: Croce and Hein 2020).

    A module is called in eval mode with its parameters frozen, and put back. Random numbers depend on ``seed`` alone.

    Args:
        model: images to logits (N, classes), float32; one that normalises images does so itself.
        x: images (N, C, H, W), float32 in [0, 1].
        y: class numbers (N,), integers from 0.
        threat: ``rb.Linf("8/255")`` or ``rb.L2(0.5)``.
        attacks: "standard" (= "aa"), "aa-plus", "aa-rand", "pgd20", "pgd20-cw", "fgsm", "apgd-ce", "apgd-t", "fab-t",
            "square"; of several each attacks what those before it left. An attack of your own is a function (model, x,
            y, eps) to perturbed images, or its name, ``"./attack.py:name"`` (docs/own-attack.md).
        seed: of the attacks.
        batch_size: images attacked at a time; another one draws other random numbers.
        num_classes: to check the model against; None: as many as it has logits.
        device: where images and labels go; None: where the images are. The model must be there.
        folder: keeps what each attack found on each batch there: after Ctrl-C the same call continues, a finished
            evaluation is read back, and another model's or other images' is refused.
        progress: show it on stderr.

    Raises:
        RobenchError: for images, labels or a model that cannot be attacked.
    """
    with called(KEPT if folder else UNKEPT), given(model, x, y, num_classes, device) as own:
        chosen = _chosen(attacks, own.num_classes)
        asked = units.Asked("+".join(chosen), _attacks(chosen), threat_of(threat), seed, batch_size)
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1 image")
        with voices(progress)[0](1, NAME) as listen:
            try:
                found = units.run(own, asked, Path(folder) if folder else None, reporter(NAME, listen))
            except torch.OutOfMemoryError:
                raise DataError("out of memory: use a smaller batch_size") from None
            listen(ending(NAME, None))
        return found


def _chosen(asked: str | Function | Sequence[str | Function], classes: int) -> dict[str, tuple[Attack, ...]]:
    """By name, the attacks of each set that is asked for."""
    found: dict[str, tuple[Attack, ...]] = {}
    for each in asked if isinstance(asked, Iterable) and not isinstance(asked, str) else [asked]:
        if not isinstance(each, str) or ":" in each:
            own = _own(each)
            if own.name in {*KNOWN, *SETS} or own.name in found:
                raise UsageError(f"attacks: there is another one called {own.name}; give the function another name")
            found[own.name] = (own,)
            continue
        name = "aa" if each == "standard" else each
        if name not in SETS:
            raise UsageError(unknown("attack", name, ["standard", *SETS]))
        if classes < (least := LEAST_CLASSES.get(name, 2)):
            raise UsageError(f"attacks {name} needs {least} classes, the model has {classes}: say attacks='standard'")
        found[name] = attacks_of(name, classes)
    if not found:
        raise UsageError(f"attacks is empty: choose from {', '.join(['standard', *SETS])}")
    return found


def _own(asked: Any) -> Attack:
    if not isinstance(asked, str) and not callable(asked):
        said = f"attacks holds a {type(asked).__name__}"
        raise UsageError(f"{said}; say names, or functions (model, x, y, eps) to perturbed images")
    own = own_attacks.named(asked) if isinstance(asked, str) else own_attacks.given(asked)
    return Attack(own.name, own=own)


def _attacks(chosen: Mapping[str, Sequence[Attack]]) -> tuple[Attack, ...]:
    """Those of all sets in turn, each once."""
    found: dict[str, Attack] = {}
    for each in (attack for attacks in chosen.values() for attack in attacks):
        if found.setdefault(each.name, each) != each:
            raise UsageError(f"attacks {', '.join(chosen)}: they run {each.name} in different ways; leave one out")
    return tuple(found.values())
