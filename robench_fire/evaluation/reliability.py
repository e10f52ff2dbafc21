"""Whether an AutoAttack result can be believed: a battery of checks that end in a verdict with its reasons.

The checks follow Athalye et al. 2018 ("Obfuscated gradients give a false sense of security") and Carlini et al. 2019
("On evaluating adversarial robustness"), beside AutoAttack's own five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robench_fire.devices.random_streams import generator
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel
from robench_fire.evaluation.reliability_text import MASKED, OWN
from robench_fire.problem.pgd import Forward, Pgd, misclassify
from robench_fire.problem.threat import THREATS
from robench_fire.quantity import Quantity
from robench_fire.statistics.summary import above_chance, more, noticeable, percent

IMAGES = 200  # correctly classified ones that the battery uses
ENOUGH = 20  # fewer say nothing
COMPLETE = ("aa", "aa-plus")
TRANSFER = "transfer is weaker than white-box"
STEPS, NOISE = "more steps do not help the defense", "random noise is weaker than PGD"
RADIUS = "accuracy reaches 0 as eps grows"
OWN_ATTACKS = "attacks of your own are weaker than AutoAttack"
DOUBT = dict.fromkeys((TRANSFER, STEPS, NOISE, RADIUS), f"; {MASKED}")
"""What a failed check means, after what was found."""


@dataclass(frozen=True)
class Check:
    """One check: ``passed`` is None where it could not be made; ``found`` says what was seen."""

    name: str
    passed: bool | None
    found: str


def battery(attacked: AttackedModel, robust: Tensor, siblings: Sequence[Forward]) -> list[Check]:
    """What the model itself can tell, on its first correctly classified images.

    ``robust`` (N,): what AutoAttack left of all images. ``siblings``: models of the same defense from other seeds.
    """
    few = attacked.labels.new_zeros(0)
    for number in range(attacked.blocks):
        x, label = attacked.block(number)
        few = torch.cat([few, number * attacked.batch_size + attacked.correct(x, label).nonzero().flatten()])[:IMAGES]
        if len(few) == IMAGES:
            break
    if len(few) < ENOUGH:
        return [Check("enough images", None, f"{len(few)} are classified correctly, {ENOUGH} are needed")]
    small = replace(attacked, images=attacked.images[few], labels=attacked.labels[few], batch_size=len(few))
    weak, strong = _stands(small, steps=10), _stands(small, steps=100)
    return [
        _radius(small),
        _steps(weak, strong),
        _noise(small, strong),
        _transfer(small, robust.to(few.device)[few], siblings),
    ]


def _pgd(attacked: AttackedModel, forward: Forward, steps: int) -> Tensor:
    """PGD on cross-entropy from a uniform start, its steps together 2.5 radii long."""
    pgd = Pgd(steps=steps, step=Quantity(2.5 * float(attacked.threat.eps) / steps), start="uniform")
    draw = generator(attacked.images.device, attacked.seed, "battery", steps)
    return pgd(forward, misclassify(attacked.labels), attacked.images, attacked.threat, draw)


def _stands(attacked: AttackedModel, steps: int) -> Tensor:
    return attacked.correct(_pgd(attacked, attacked.forward, steps), attacked.labels)


def _radius(attacked: AttackedModel) -> Check:
    """At a radius that holds every image, next to nothing may stand."""
    largest = _everything(attacked)
    eps = float(attacked.threat.eps)
    while True:
        eps = min(2 * eps, largest)
        left = int(_stands(attacked.under(THREATS[attacked.threat.norm](eps=Quantity(eps))), steps=50).sum())
        if not left or eps == largest:
            at = f"at eps {eps:.3g}" + ", which holds every image" * (eps == largest)
            found = f"PGD-50 leaves {left} of {len(attacked.labels)} images {at}"
            return Check(RADIUS, not noticeable(left, len(attacked.labels)), found)


def _everything(attacked: AttackedModel) -> float:
    """The distance, in the threat's norm, between the farthest images of [0, 1]."""
    corner = torch.ones_like(attacked.images[:1])
    return float(attacked.threat.distance(corner, torch.zeros_like(corner)))


def _steps(weak: Tensor, strong: Tensor) -> Check:
    helped, hurt = int((strong & ~weak).sum()), int((weak & ~strong).sum())
    found = f"10 steps of PGD broke {helped} images that 100 steps did not ({hurt} the other way), of {len(weak)}"
    return Check(STEPS, not more(helped, hurt), found)


def _noise(attacked: AttackedModel, strong: Tensor) -> Check:
    draw = generator(attacked.images.device, attacked.seed, "noise")
    samples = (attacked.threat.sample(attacked.images, draw) for _ in range(10))
    stands = torch.stack([attacked.correct(each, attacked.labels) for each in samples]).all(0)
    noise, gradient = int((strong & ~stands).sum()), int((stands & ~strong).sum())
    found = f"ten random points broke {noise} images that PGD-100 did not ({gradient} the other way), of {len(strong)}"
    return Check(NOISE, not more(noise, gradient), found)


def _transfer(attacked: AttackedModel, robust: Tensor, siblings: Sequence[Forward]) -> Check:
    if not siblings:
        return Check(TRANSFER, None, "no other seed of this defense is trained")
    stands = [attacked.correct(_pgd(attacked, each, 20), attacked.labels) for each in siblings]
    missed = int((robust & ~torch.stack(stands).all(0)).sum())
    made = f"images made with PGD-20 on {len(siblings)} other seeds"
    found = f"{made} broke {missed} of {len(attacked.labels)} that AutoAttack left"
    return Check(TRANSFER, not noticeable(missed, len(attacked.labels)), found)


def judged(
    attack: str,
    attacked: AttackedModel | None,
    clean: Tensor,
    robust: Tensor,
    flags: Sequence[str],
    siblings: Sequence[Forward],
) -> dict[str, Any]:
    """The verdict on an evaluation, "reliable", "unreliable" or "unknown", its reasons, and the checks behind it.

    ``clean`` and ``robust`` (N,) are its masks, ``flags`` what AutoAttack's own checks raised, as sentences (see
    robench_fire.evaluation.reliability_text); ``attacked`` is needed for
    the sets in COMPLETE. Any failed check makes it unreliable; unknown is what could not be judged. A check that could
    not be made is named either way.
    """
    checks = [Check(OWN, not flags, "; ".join(flags) or "none raised")]
    if attacked is None or attack not in COMPLETE:
        checks.append(Check("a complete AutoAttack", None, f"{attack} alone says little; use {' or '.join(COMPLETE)}"))
    elif not attacked.threat.eps > 0:
        checks.append(Check("a radius above 0", None, "eps is 0"))
    else:
        checks += [*_chance(percent(clean), attacked.num_classes), *battery(attacked, robust, siblings)]
    return _verdict(checks)


def with_own(verdict: Mapping[str, Any], broken: Mapping[str, int], images: int) -> dict[str, Any]:
    """A verdict on a complete AutoAttack that knows what attacks of the user's own broke of the images it had left.

    ``broken``: how many, by attack, of all ``images``.
    """
    if not broken or "checks" not in verdict:
        return dict(verdict)
    said = "; ".join(f"{name} broke {count} of {images} images that AutoAttack left" for name, count in broken.items())
    check = Check(OWN_ATTACKS, not any(noticeable(count, images) for count in broken.values()), said)
    checks = [Check(**each) for each in verdict["checks"] if each["name"] != OWN_ATTACKS]
    return {**verdict, **_verdict([*checks, check])}


def _verdict(checks: Sequence[Check]) -> dict[str, Any]:
    failed = [each for each in checks if each.passed is False]
    open_ = [each for each in checks if each.passed is None]
    unknown = any(each.name != TRANSFER for each in open_)
    return {
        "verdict": "unreliable" if failed else "unknown" if unknown else "reliable",
        "reasons": [f"{each.found}{DOUBT.get(each.name, '')}" for each in failed]
        + [f"{each.name}: not checked, {each.found}" for each in open_],
        "checks": [asdict(each) for each in checks],
    }


def _chance(accuracy: float, num_classes: int) -> list[Check]:
    if above_chance(accuracy, num_classes):
        return []
    found = f"{accuracy:.1f} % on {num_classes} classes: another data set's weights, or twice normalised?"
    return [Check("clean accuracy is above chance", None, found)]
