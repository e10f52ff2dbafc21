"""AutoAttack's sets and attacks with upstream's settings.

The attacks' steps are pyautoattack's, but for Square's under the L-infinity norm.
Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from robench_fire.evaluation.autoattack.leaving import AllBroken, Fab, Leaving
from robench_fire.evaluation.autoattack.square import QUERIES, Asked, square_linf
from robench_fire.evaluation.own_attacks.attack import OwnAttack
from robench_fire.problem.pgd import Forward
from robench_fire.problem.threat import Threat

VERSION = f"1 on pyautoattack {version('pyautoattack')}"
"""Of the attacks' results: raise the number when a change of ours could change a mask."""

Tick = Callable[[float], None]
"""The share of an attack on a batch that is done, 0 to 1."""


@dataclass(frozen=True)
class Attack:
    """One attack of a set; ``samples`` gradients are averaged in each step (EOT, for randomised models).

    ``steps``: of APGD; ``targets``: how many classes its targeted form aims at. ``own``: one of the user's, which is
    called instead.
    """

    name: str
    restarts: int = 1
    samples: int = 1
    steps: int = 100
    targets: int = 9
    own: OwnAttack | None = None


SETS: dict[str, tuple[Attack, ...]] = {
    "aa": (Attack("apgd-ce"), Attack("apgd-t"), Attack("fab-t"), Attack("square")),
    "aa-plus": (
        Attack("apgd-ce", restarts=5), Attack("apgd-dlr", restarts=5), Attack("fab", restarts=5), Attack("square"),
        Attack("apgd-t"), Attack("fab-t"),
    ),
    "aa-rand": (Attack("apgd-ce", samples=20), Attack("apgd-dlr", samples=20)),
    "quick": (Attack("apgd-ce", steps=20), Attack("apgd-t", steps=20, targets=3)),
    **{name: (Attack(name),) for name in ("apgd-ce", "apgd-t", "fab-t", "square")},
}  # fmt: skip
"""Which attacks an evaluation runs, in order."""


LEAST_CLASSES = {"apgd-dlr": 3, "apgd-t": 4}
"""How many classes the DLR loss compares: it, its targeted form."""


def for_classes(attacks: tuple[Attack, ...], num_classes: int) -> tuple[Attack, ...]:
    """The attacks of a set that so many classes allow, as upstream's check_n_classes advises.

    Of three classes, the targeted DLR loss gives way to the plain one, where the set has none yet. Of two, both are
    left out: there a cross-entropy rises and falls with the margin.
    """
    dlr = any(each.name == "apgd-dlr" for each in attacks)
    plain = [replace(each, name="apgd-dlr") if each.name == "apgd-t" and not dlr else each for each in attacks]
    chosen = attacks if num_classes >= LEAST_CLASSES["apgd-t"] else tuple(plain)
    return tuple(each for each in chosen if num_classes >= LEAST_CLASSES.get(each.name, 2))


class Heard(list[str]):
    """The logger that upstream's checks complain to."""

    def warning(self, text: str) -> None:
        self.append(text)


def inside(threat: Threat, x_adv: Tensor, x: Tensor) -> Tensor:
    """(N,) whether ``x_adv`` lies in the ball around ``x``, up to float32's rounding, and in [0, 1]."""
    near = threat.distance(x_adv.float(), x) <= float(threat.eps) * (1 + 1e-5) + 1e-7
    valid: Tensor = near & (x_adv.flatten(1).amin(1) >= 0) & (x_adv.flatten(1).amax(1) <= 1)
    return valid


@dataclass(frozen=True)
class AttackedBlock:
    """A block of correctly classified images ``x`` (N, C, H, W) in [0, 1] with ``label`` (N,) under attack.

    At most ``room`` images are shown to the model at a time. ``tracked``: the same model, for Square.
    """

    forward: Forward
    x: Tensor
    label: Tensor
    threat: Threat
    num_classes: int
    room: int
    heard: Heard
    tracked: Asked | None = None

    def inside(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """(N,) whether the threat model allows ``x_adv`` for ``x``."""
        return inside(self.threat, x_adv, x)

    @property
    def ranked(self) -> Tensor:
        """(N, classes) the classes of each image by rising logit."""
        return self.forward(self.x).argsort(1)

    @property
    def targets(self) -> range:
        """Ranks, from the end, of the classes that targeted attacks aim at: up to nine, the likeliest first."""
        return range(2, min(9, self.num_classes - 1) + 2)

    @property
    def shared(self) -> dict[str, Any]:
        return {"norm": self.threat.norm, "eps": float(self.threat.eps), "device": self.x.device}


def perturb(attack: Attack, attacked: AttackedBlock, seed: int, tick: Tick) -> Tensor:
    """(N, C, H, W) the images after the attack; where it found nothing, the image itself or, by Square, its best try.

    All random numbers come from ``seed``, drawn as upstream draws them; the caller's generators are left alone.
    """
    search = {"fab": _fab, "fab-t": _fab_targeted, "square": _square}.get(attack.name, _apgd)
    cuda = [attacked.x.device] if attacked.x.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), torch.no_grad():
        torch.manual_seed(seed)
        return search(attack, attacked, tick)


def _counted(forward: Forward, calls: int, tick: Tick) -> Forward:
    """``forward``, telling after each call which share of ``calls`` is done."""
    made = 0

    def asked(x: Tensor) -> Tensor:
        nonlocal made
        made += 1
        tick(min(made / calls, 1))
        return forward(x)

    return asked


def _apgd(attack: Attack, attacked: AttackedBlock, tick: Tick) -> Tensor:
    """APGD on cross-entropy, DLR, or DLR towards each of the likeliest classes in turn."""
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    targeted = attack.name == "apgd-t"
    shared = attacked.shared | {"n_iter": attack.steps, "eot_iter": attack.samples, "logger": attacked.heard}
    if targeted:
        upstream = APGDAttack_targeted(None, **shared)
    else:
        upstream = APGDAttack(None, loss=attack.name.removeprefix("apgd-"), **shared)
    upstream.init_hyperparam(attacked.x)
    ranked = attacked.ranked if targeted else None
    aims = attacked.targets[: attack.targets] if targeted else (0,)
    rounds = [target for target in aims for _ in range(attack.restarts)]
    forward = _counted(attacked.forward, (attack.steps + 1) * len(rounds) * attack.samples, tick)
    x_adv, left = attacked.x.clone(), torch.arange(len(attacked.x), device=attacked.x.device)
    for target in rounds:
        if not len(left):
            break
        if ranked is not None:
            upstream.y_target = ranked[left, -target]
        found, broken, kept = _apgd_run(upstream, forward, attacked, left)
        x_adv[left[broken]] = found[broken]
        left = left[kept]
    return x_adv


def _apgd_run(upstream: Any, forward: Forward, attacked: AttackedBlock, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The images ``rows`` perturbed, which of them that breaks (N,), and the indices of those to go on with."""
    x, label = attacked.x[rows], attacked.label[rows]
    if upstream.eot_iter > 1:  # no single sample of a randomised model says that an image is broken
        upstream.model = forward
        _, stands, _, x_adv = upstream.attack_single_run(x, label)
        return x_adv, ~stands, stands.nonzero().flatten()
    upstream.model = leaving = Leaving(forward, x, label, attacked.inside)
    with suppress(AllBroken):
        upstream.attack_single_run(x, label)
    return leaving.found, leaving.broken, leaving.open


def _fab(attack: Attack, attacked: AttackedBlock, tick: Tick) -> Tensor:
    """FAB of 100 iterations towards the nearest class, from the image and then from random points of the ball."""
    x_adv, left = attacked.x.clone(), torch.arange(len(attacked.x), device=attacked.x.device)
    upstream = _upstream_fab(attacked, _counted(attacked.forward, 200 * attack.restarts, tick))
    for restart in range(attack.restarts):
        if len(left):
            found, broken = upstream.search(attacked.x[left], attacked.label[left], None, left, restart > 0)
            x_adv[left[broken]] = found[broken]
            left = left[~broken]
    return x_adv


def _fab_targeted(attack: Attack, attacked: AttackedBlock, tick: Tick) -> Tensor:
    """FAB of 100 iterations towards each of the likeliest classes, as many at a time as there is room for."""
    x_adv, left = attacked.x.clone(), torch.arange(len(attacked.x), device=attacked.x.device)
    ranked, targets, done = attacked.ranked, list(attacked.targets), 0
    while done < len(targets) and len(left):
        now = targets[done : done + max(1, attacked.room // len(left))]
        share = partial(_part, tick, done / len(targets), len(now) / len(targets))
        upstream = _upstream_fab(attacked, _counted(attacked.forward, 200, share))
        rows, target = left.repeat(len(now)), torch.cat([ranked[left, -rank] for rank in now])
        found, broken = upstream.search(attacked.x[rows], attacked.label[rows], target, rows, False)
        hits = broken.view(len(now), -1)
        first = (hits & (hits.cumsum(0) == 1)).flatten()  # two classes may break an image at once
        x_adv[rows[first]] = found[first]
        left, done = left[~torch.isin(left, rows[broken])], done + len(now)
    return x_adv


def _upstream_fab(attacked: AttackedBlock, forward: Forward) -> Fab:
    return Fab(forward, attacked.inside, attacked.num_classes, n_iter=100, **attacked.shared)


def _part(tick: Tick, begun: float, share: float, done: float) -> None:
    tick(begun + share * done)


def _square(attack: Attack, attacked: AttackedBlock, tick: Tick) -> Tensor:
    """Square of 5,000 queries."""
    from pyautoattack.square import SquareAttack

    if attacked.threat.norm == "Linf":
        eps = float(attacked.threat.eps)
        return square_linf(attacked.forward, attacked.x, attacked.label, eps, tick, attacked.tracked)
    forward = _counted(attacked.forward, QUERIES + 1, tick)
    upstream = SquareAttack(forward, n_queries=QUERIES, resc_schedule=False, **attacked.shared)
    upstream.init_hyperparam(attacked.x)
    found: Tensor = upstream.attack_single_run(attacked.x, attacked.label)[1]
    return found
