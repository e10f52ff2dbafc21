"""The inner problem of an update: the perturbed images, further images, and the teacher's logits of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from robench_fire.devices.precision import GAIN_SCALE, Format, autocast
from robench_fire.problem.defense import Views
from robench_fire.problem.defense_check import same_shape
from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.threat import Threat, scaled
from robench_fire.training.setup import Gain, Setup, frozen

Begin = Callable[[Tensor, Threat, Generator], Tensor]
"""Clean images, threat model and stream to images near them."""


def attacked(
    model: nn.Module, setup: Setup, drawn: Tensor, seen: Views, noises: Sequence[Generator], kept: Tensor | None = None
) -> tuple[dict[str, Tensor], Views]:
    """By name this process's part of every image that the outer loss reads, and ``seen`` with the teacher's logits.

    ``drawn``: the clean images of the whole batch, one seed's after another's; ``seen``: what is known of this part of
    them; ``noises``: each seed's stream of starts; ``kept``: the perturbation that the update before left, for replays.
    Clean logits are computed once, where an attack reads them. Without an attack the perturbed images are the clean
    ones.
    """
    recipe, defense, clean = setup.problem.recipe, setup.problem.defense, setup.group.part(drawn)
    images = {"clean": clean}
    known = seen = _taught(setup, seen, images)
    if isinstance(recipe.attack, Pgd):
        with frozen(model, recipe.attack_mode):
            if defense.clean_in_inner:
                with torch.no_grad(), autocast(setup.arithmetic.first, setup.device):
                    known = seen._replace(clean=model(clean).float())
            for name, gain in setup.gains.items():
                images[name] = _climbed(setup, recipe.attack, gain, drawn, known, noises)
    elif isinstance(recipe.attack, Replay):
        assert kept is not None
        images["adv"] = setup.layout(recipe.attack.images(clean, kept, setup.problem.threat))
    else:
        images |= dict.fromkeys(setup.gains, clean)
    for view in defense.further:
        if view.around is not None:
            ball = scaled(setup.problem.threat, view.around)
            images[view.name] = _begun(setup, lambda each, threat, own: threat.sample(each, own), ball, drawn, noises)
        if view.image is not None:
            images[view.name] = setup.layout(view.image(clean, images["adv"]).detach())
            same_shape("training", view, images[view.name], tuple(clean.shape))
    return images, _taught(setup, seen, images)


def _taught(setup: Setup, seen: Views, images: dict[str, Tensor]) -> Views:
    """With the teacher's logits of those of its images that there are."""
    wanted = [name for name in setup.problem.defense.teacher_reads if name in images and name not in seen.teacher]
    if not wanted:
        return seen
    assert setup.teacher is not None
    with torch.no_grad(), autocast(setup.arithmetic.first, setup.device):
        return seen._replace(teacher={**seen.teacher, **{each: setup.teacher(images[each]).float() for each in wanted}})


def _begun(setup: Setup, begin: Begin, threat: Threat, drawn: Tensor, noises: Sequence[Generator]) -> Tensor:
    """Images by chance; all processes draw the same ones for the whole batch, and take their part."""
    parts = zip(drawn.chunk(len(noises)), noises, strict=True)
    return setup.layout(setup.group.part(torch.cat([begin(each, threat, own) for each, own in parts])))


def _climbed(setup: Setup, attack: Pgd, gain: Gain, drawn: Tensor, seen: Views, noises: Sequence[Generator]) -> Tensor:
    """The images of one attack."""
    threat, formats, part = setup.problem.threat, setup.arithmetic, setup.group.part
    begin = _begun(setup, attack.begin, threat, drawn, noises)
    finite: list[Tensor] = []

    def value(chosen: Format) -> Callable[[Tensor], Tensor]:
        def of(z: Tensor) -> Tensor:
            with autocast(chosen, setup.device):
                found = gain(z, seen)
            z.register_hook(lambda grad: finite.append(grad.isfinite().all(dim=tuple(range(1, grad.dim())))))
            return found * GAIN_SCALE if chosen == "fp16" else found

        return of

    rest = [value(formats.attack)] * (attack.steps - 1)
    x_adv = attack.climb([value(formats.first), *rest], part(drawn), begin, threat)
    if finite:  # an attack does not move by what is no number: without this its step would be left out in silence
        silent = ~torch.stack(finite).all(0)
        x_adv = x_adv.masked_fill(silent.view(-1, *[1] * (x_adv.dim() - 1)), torch.nan)
    return x_adv
