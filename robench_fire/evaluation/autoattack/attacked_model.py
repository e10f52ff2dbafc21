"""One (attack, block) unit: which images of a block of test images stand an attack. Everything is a function of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robench_fire.devices.precision import rounding
from robench_fire.devices.random_streams import derive, generator
from robench_fire.evaluation import checks
from robench_fire.evaluation.autoattack import attack_sets
from robench_fire.evaluation.autoattack.attack_sets import Attack, AttackedBlock, Heard, Tick, inside
from robench_fire.evaluation.autoattack.forwards import PIXELS, as_loaded, forward_of
from robench_fire.evaluation.autoattack.patches import tracked
from robench_fire.evaluation.autoattack.square import Asked
from robench_fire.evaluation.own_attacks import calling
from robench_fire.evaluation.own_attacks.uncounted import Uncounted, uncounted
from robench_fire.problem.pgd import Forward, Gain, Pgd, margin, misclassify
from robench_fire.problem.threat import Threat
from robench_fire.quantity import Quantity


class Plain(NamedTuple):
    """Projected gradient descent as an evaluation: ``steps`` of a ``part``-th of the radius."""

    steps: int
    part: int
    start: Literal["uniform", "zero"]
    gain: Callable[[Tensor], Gain]


PLAIN = {
    "fgsm": Plain(1, 1, "zero", misclassify),  # Goodfellow et al. 2015
    "pgd20": Plain(20, 10, "uniform", misclassify),
    "pgd20-cw": Plain(20, 10, "uniform", margin),
}
"""Attacks that are none of AutoAttack's: quick, and weak."""


class Outcome(NamedTuple):
    """What an attack left of a block.

    Which images of the block (N,) are left; which places (M,) in it were broken, by which images (M, C, H, W); the
    largest perturbation among them; whether upstream complained of gradients; what an attack of the user's own
    returned that does not count.
    """

    robust: NDArray[Any]
    broken: NDArray[Any]
    images: NDArray[Any]
    largest: float
    zero_gradients: bool
    uncounted: Uncounted = Uncounted()


@dataclass(frozen=True, kw_only=True)
class AttackedModel:
    """A frozen model and the test images (N, C, H, W), floats in [0, 1], that it is attacked on, cut into blocks.

    Attacks search with ``forward``; whether an image is classified correctly is asked of ``model`` as it was loaded, in
    float32: a GPU's TF32, torch's default, would decide narrow cases by its rounding.
    Attacks of the user's own get the ``module`` itself, Square gets the ``tracked`` model where there is one.
    """

    model: Forward
    forward: Forward
    images: Tensor
    labels: Tensor
    threat: Threat
    num_classes: int
    seed: int
    batch_size: int
    module: nn.Module
    tracked: Asked | None = None

    @property
    def blocks(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def block(self, number: int) -> tuple[Tensor, Tensor]:
        """The images and labels of a block."""
        part = slice(number * self.batch_size, (number + 1) * self.batch_size)
        return self.images[part], self.labels[part]

    def under(self, threat: Threat) -> AttackedModel:
        """The same with another threat model."""
        return replace(self, threat=threat)

    @torch.no_grad()
    def correct(self, x: Tensor, label: Tensor) -> Tensor:
        """(N,) whether each image is classified correctly; one whose logits are not finite is not."""
        with rounding("fp32"):
            found = torch.cat([self.model(part) for part in x.split(self.batch_size)])
        return (found.argmax(1) == label) & found.isfinite().all(1)

    def clean(self, number: int) -> NDArray[Any]:
        """(N,) which images of a block are classified correctly.

        Raises:
            DataError: if a logit is not finite.
        """
        x, label = self.block(number)
        with torch.no_grad(), rounding("fp32"):
            found = checks.finite(self.model(x))
        return (found.argmax(1) == label).cpu().numpy()

    def stand(self, attack: Attack, number: int, standing: NDArray[Any], tick: Tick) -> Outcome:
        """Attack those images of a block that are ``standing`` (N,). The result depends on nothing but these.

        A perturbation counts if the threat model allows it and the model, asked once more, misclassifies it.
        """
        x, label = self.block(number)
        index = torch.from_numpy(np.flatnonzero(standing)).to(x.device)
        left, heard = standing.copy(), Heard()
        if not len(index) or not self.threat.eps > 0:
            return Outcome(left, np.zeros(0, np.int64), x[:0].cpu().numpy(), 0.0, False)
        x, label = x[index], label[index]
        x_adv = self._perturbed(attack, number, x, label, heard, tick)
        unruly = uncounted(self.threat, x_adv, x) if attack.own else Uncounted()
        with torch.no_grad():
            allowed = inside(self.threat, x_adv, x)
            asked = torch.where(allowed.view(-1, 1, 1, 1), x_adv, x) if attack.own else x_adv
            broken = allowed & ~self.correct(asked, label)
            sizes = self.threat.distance(x_adv, x)[broken]
        places = index[broken].cpu().numpy()
        left[places] = False
        found = x_adv[broken].float().cpu().numpy()
        return Outcome(left, places, found, float(sizes.max()) if len(sizes) else 0.0, bool(heard), unruly)

    def _perturbed(self, attack: Attack, number: int, x: Tensor, label: Tensor, heard: Heard, tick: Tick) -> Tensor:
        if attack.name in PLAIN:
            steps, parts, start, gain = PLAIN[attack.name]
            pgd = Pgd(steps=steps, step=Quantity(float(self.threat.eps) / parts), start=start)
            draw = generator(x.device, self.seed, attack.name, number)
            return pgd(self.forward, gain(label), x, self.threat, draw)
        if attack.own:
            seed = derive(self.seed, "own attack", number)
            return calling.perturbed(attack.own, self.module, x, label, float(self.threat.eps), seed)
        room, square = self._room(x), self.tracked
        attacked = AttackedBlock(self.forward, x, label, self.threat, self.num_classes, room, heard, square)
        return attack_sets.perturb(attack, attacked, derive(self.seed, attack.name, number), tick)

    def _room(self, x: Tensor) -> int:
        """How many images an attack may work on at once."""
        return max(self.batch_size, PIXELS // x[0].numel()) if x.device.type == "cpu" else self.batch_size


def attacked_model(
    model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, *, num_classes: int, seed: int, batch_size: int
) -> tuple[AttackedModel, list[str]]:
    """The attacked model of ``model``, which is put into eval mode and frozen, and what AutoAttack's checks say of it.

    ``images`` (N, C, H, W) are floats in [0, 1], on the model's device like ``labels`` (N,).

    Raises:
        DataError: if the images leave [0, 1], or the model returns anything but logits.
    """
    images = checks.images(images)
    model = model.eval().requires_grad_(False)
    few, its = images[:batch_size], labels[:batch_size]
    dynamic = checks.dynamic(model, few[:8])
    plain = as_loaded(model, images, num_classes, dynamic)
    fast = forward_of(model, images, num_classes, dynamic)
    attacked = AttackedModel(
        model=plain, forward=fast, images=images, labels=labels, threat=threat, num_classes=num_classes, seed=seed,
        batch_size=batch_size, module=model, tracked=None if dynamic else tracked(model, images, num_classes, fast),
    )  # fmt: skip
    return attacked, checks.flags(plain, few, its) + ["dynamic"] * dynamic
