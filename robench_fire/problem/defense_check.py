"""A mistake in a defense, found on the logits of two images before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from robench_fire.errors import RecipeError
from robench_fire.problem.defense import Defense, Terms, View, Views
from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.targets import recalled
from robench_fire.quantity import Quantity

_SWITCHES = ("clean_in_inner", "clean_in_outer", "features", "one_class")
_WIDTH = 8  # of made-up features and gradients
_FLAT = 1e-6  # a slope that is rounding
_SEARCH = Pgd(steps=1, step=Quantity("1"))


def check(
    defense: Defense, name: str, num_classes: int, shape: tuple[int, int, int] = (1, 8, 8),
    attack: Pgd | Replay | None = _SEARCH,
) -> None:  # fmt: skip
    """Call a defense on the logits of two images, so that a mistake in it is found before anything is spent.

    Once where clean and perturbed logits differ, once where they are equal, as where an attack finds nothing.
    ``attack``: its recipe's.

    Raises:
        RecipeError: if it lacks inner (of an attack) or outer, or one returns something else than a value per example,
            (N,), or over_batch or inner_over_batch than one of the batch, (); if a gain does not depend on the
            perturbed images, or no term on any image; if a value or a gradient is not finite; if a further image has
            another shape; if it names images that it does not make; if a coefficient is not a field; or if replays
            would never leave the image.
    """
    attacked = attack is not None
    for function in ("inner", "outer") if attacked else ("outer",):
        if getattr(type(defense), function) is getattr(Defense, function):
            raise RecipeError(f"{name} defines no {function}(self, views); see docs/adding-a-defense.md")
    _coefficients(defense, name)
    _names(defense, name)
    for view in defense.further:
        _image(view, name, shape)
    label = torch.arange(2) % num_classes
    memory, index = defense.targets.init(label, num_classes), torch.arange(2)
    known = Views(None, label, defense.targets.read(memory, index), label, torch.tensor(0.5))
    known = known._replace(recalled=recalled(defense.targets, memory, index))
    clean, adv = torch.linspace(-1, 1, 4 * num_classes).view(2, 2, num_classes)
    with torch.enable_grad():
        for perturbed, where in ((adv, ""), (clean, " where clean and perturbed logits are equal")):
            seen = _seen(defense, clean, perturbed, known)
            for image, gain in defense.attacks.items() if attacked else ():
                _gain(defense, f"{name}: {'inner' if image == 'adv' else f'the gain of {image!r}'}", gain, seen, where)
            if attacked and defense.has_batch_gain:
                _gain(defense, f"{name}: inner_over_batch", type(defense).inner_over_batch, seen, where, ())
            _terms(defense, name, seen, where)
        if isinstance(attack, Replay):
            _leaves(defense, name, _seen(defense, clean, clean, known))


def _leaves(defense: Defense, name: str, seen: Views) -> None:
    """Replays climb the loss itself, from the image: one that is flat there would leave them where they are."""
    views = seen if defense.clean_in_outer else seen._replace(clean=None)
    whole = sum(value.sum() for value in (*defense.outer(views).values(), *defense.over_batch(views).values()))
    assert isinstance(whole, Tensor)
    (slope,) = torch.autograd.grad(whole, seen.adv, allow_unused=True)
    if slope is None or slope.abs().max() < _FLAT:
        raise RecipeError(f"{name}: its loss is flat at the clean image, where replays begin; use a search, Pgd(...)")


def _coefficients(defense: Defense, name: str) -> None:
    """Refuse numbers that neither --set nor the fingerprint would see."""
    known = {each.name for each in fields(defense)} | {*_SWITCHES}
    for attribute, value in vars(type(defense)).items():
        if isinstance(value, (int, float)) and not attribute.startswith("_") and attribute not in known:
            raise RecipeError(
                f"{name}: {attribute} = {value} is no field; write {attribute}: {type(value).__name__} = {value} in a "
                "class under @dataclass(frozen=True, kw_only=True)"
            )


def _names(defense: Defense, name: str) -> None:
    images = ["clean", "adv", *(view.name for view in defense.further)]
    if len(set(images)) < len(images):
        raise RecipeError(f"{name}: further has two images of one name")
    for what in ("teacher_reads", "gradients_at"):
        if unknown := [each for each in getattr(defense, what) if each not in images]:
            raise RecipeError(f"{name}: {what} names {unknown[0]!r}; its images are {', '.join(images)}")
    if "clean" in defense.gradients_at and not defense.clean_in_outer:
        raise RecipeError(f"{name}: gradients_at names 'clean', whose logits clean_in_outer leaves out")


def _image(view: View, name: str, shape: tuple[int, int, int]) -> None:
    if view.image is not None:
        made = view.image(torch.full((2, *shape), 0.5), torch.full((2, *shape), 0.6))
        same_shape(name, view, made, (2, *shape))


def same_shape(name: str, view: View, made: Any, expected: tuple[int, ...]) -> None:
    """Refuse a further image that is not of the shape of the clean ones.

    Raises:
        RecipeError: naming the view and both shapes.
    """
    if not isinstance(made, Tensor) or made.shape != expected:
        found = tuple(made.shape) if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise RecipeError(f"{name}: the image {view.name!r} is {found}; the clean images are {expected}")


def _seen(defense: Defense, clean: Tensor, adv: Tensor, known: Views) -> Views:
    """All that the outer loss may read, made up but for what is ``known`` of the images."""
    clean, adv = clean.clone().requires_grad_(), adv.clone().requires_grad_()
    more = {view.name: (2 * adv - clean).detach().requires_grad_() for view in defense.further}
    images = ["clean"] * defense.clean_in_outer + ["adv", *more]
    made = {each: torch.linspace(0.1, 1, 2 * _WIDTH).view(2, _WIDTH) * (at + 1) for at, each in enumerate(images)}
    return known._replace(
        clean=clean, adv=adv, more=more,
        teacher={each: clean.detach().flip(1) for each in defense.teacher_reads},
        features={each: value.clone().requires_grad_() for each, value in made.items()} if defense.features else {},
        gradients={each: made[each].clone().requires_grad_() for each in defense.gradients_at},
    )  # fmt: skip


def _gain(
    defense: Defense, what: str, gain: Callable[[Any, Views], Tensor], seen: Views, where: str,
    shape: tuple[int, ...] = (2,),
) -> None:  # fmt: skip
    known = {each: value for each, value in seen.teacher.items() if each == "clean"}
    clean = seen.natural.detach() if defense.clean_in_inner else None
    value = gain(defense, seen._replace(clean=clean, more={}, teacher=known, features={}, gradients={}))
    _shaped(what, value, shape, where)
    if not value.requires_grad:
        raise RecipeError(f"{what} does not depend on views.adv, so that an attack has no gradient to follow")
    (grad,) = torch.autograd.grad(value.sum(), seen.adv)
    if not grad.isfinite().all():
        own, _, which = what.partition(": ")
        raise RecipeError(f"{own}: the gradient of {which} is not finite{where}, so that an attack cannot follow it")


def _terms(defense: Defense, name: str, seen: Views, where: str) -> None:
    read = [seen.natural, seen.adv, *seen.more.values(), *seen.features.values(), *seen.gradients.values()]
    views = seen if defense.clean_in_outer else seen._replace(clean=None)
    if defense.gradients_at:
        _slope(defense, name, views._replace(gradients={}), where)
    made: set[str] = set()
    for function, shape in (("outer", (2,)), ("over_batch", ())):
        terms: Terms = getattr(defense, function)(views)
        if not isinstance(terms, dict) or not (terms or function == "over_batch"):
            found, expected = type(terms).__name__, "{'robust': (N,)}" if function == "outer" else "{'spread': ()}"
            raise RecipeError(f"{name}: {function} returns a {found}; expected terms by name, {expected}")
        if both := made & {*terms}:
            raise RecipeError(f"{name}: outer and over_batch both have a term {min(both)!r}; rename one")
        made |= {*terms}
        for term, value in terms.items():
            what = f"{name}: {function}'s {term!r}"
            _shaped(what, value, shape, where)
            _differentiable(what, value, read, where)


def _slope(defense: Defense, name: str, views: Views, where: str) -> None:
    if type(defense).slope is Defense.slope:
        raise RecipeError(f"{name}: gradients_at needs slope(self, views); see docs/adding-a-defense.md")
    slope = defense.slope(views)
    _shaped(f"{name}: slope", slope, (2,), where)
    logits = {"clean": views.clean, "adv": views.adv, **views.more}
    for image in defense.gradients_at:
        read = [each for each in (logits[image], views.features.get(image)) if each is not None]
        if not slope.requires_grad or not any(
            grad is not None for grad in torch.autograd.grad(slope.sum(), read, retain_graph=True, allow_unused=True)
        ):
            raise RecipeError(f"{name}: slope does not depend on the image {image!r}, which gradients_at names")


def _differentiable(what: str, value: Tensor, read: list[Tensor], where: str) -> None:
    if not value.requires_grad:
        raise RecipeError(f"{what} has no gradient, so that nothing is learnt from it; is it detached or rounded?")
    for grad in torch.autograd.grad(value.sum(), read, retain_graph=True, allow_unused=True):
        if grad is not None and not grad.isfinite().all():
            raise RecipeError(f"{what} has a gradient that is not finite{where}")


def _shaped(what: str, value: object, shape: tuple[int, ...], where: str) -> None:
    if not isinstance(value, Tensor) or value.shape != shape:
        found = f"has shape {tuple(value.shape)} for 2 images" if isinstance(value, Tensor) else f"is {value!r:.60}"
        expected = "a defense returns one value per example, (N,)" if shape else "expected one of the batch, ()"
        raise RecipeError(f"{what} {found}; {expected}")
    if not value.isfinite().all():
        raise RecipeError(f"{what} is not finite{where}; see the rules in docs/adding-a-defense.md")
