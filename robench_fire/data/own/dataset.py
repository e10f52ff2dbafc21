"""The data set that a user's prepared images are, with the recipe that every defense starts from on them."""

from __future__ import annotations

import hashlib
import json
import warnings
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robench_fire.data.fetching import elsewhere
from robench_fire.data.own.stored import FACTS, PARTS, facts_at, place_of
from robench_fire.errors import DataError, RecipeError
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset, Split, Splits
from robench_fire.problem.own_data import OwnData, own_data
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Augment, Recipe
from robench_fire.problem.threat import THREATS, Threat
from robench_fire.quantity import Quantity

SOURCE = "own data (docs/own-data.md)"
ARCHS = {(3, 32, 32): "resnet-18", (1, 28, 28): "small-cnn", (1, 8, 8): "digits-cnn"}
ANY_SIZE = "timm/resnet18"
STEPS, STEP = 10, Fraction(1, 4)  # as on CIFAR: steps of the attack, and each as a share of the radius
USUAL = "8/255 is usual for CIFAR, 4/255 for ImageNet, 0.3 for MNIST"


def known(name: str, own: OwnData | None, eps: Quantity | None = None) -> Dataset:
    """A data set by its name, or one of the user's own by what a plan says of it, attacked at ``eps``.

    Raises:
        UsageError: for an unknown name.
    """
    if own is None:
        dataset: Dataset = registry.load("datasets", name).module.DATASET
        return dataset
    return Dataset(
        num_classes=own.num_classes, shape=own.shape, mean=own.mean, std=own.std,
        recipes={} if eps is None else recipes(own.shape, eps), source=SOURCE, extra_arch=_arch(own.shape),
        validation=own.validation, train_size=own.train, test_size=own.test, load=partial(load, own),
    )  # fmt: skip


def radius(text: str, norm: str) -> Quantity:
    """The radius that a user must say, as data of their own have no usual one.

    Raises:
        RecipeError: if none is said, or it cannot be one.
    """
    if not text:
        raise RecipeError(f"data of your own have no usual radius: say --eps; {USUAL}")
    try:
        eps = Quantity(text)
    except ValueError as fault:
        raise RecipeError(f"--eps {fault}") from None
    if eps < 0 or (norm == "Linf" and eps > 1):
        whole = f"; for {text} of 255 grey levels say --eps {text}/255" if 1 < eps <= 255 and "/" not in text else ""
        raise RecipeError(f"--eps {text} is outside [0, 1], the range of a pixel{whole}; {USUAL}")
    return eps


def recipes(shape: tuple[int, int, int], eps: Quantity) -> dict[Threat, Recipe]:
    """The matched protocol of CIFAR in each norm that has the radius: its attack at that, its views at this size."""
    step = eps.times(STEP) if eps > 0 else Quantity("1/255")  # at radius 0 no step leads anywhere
    recipe = Recipe(
        arch=_arch(shape),
        attack=Pgd(steps=STEPS, step=step),
        augment=Augment(pad=shape[1] // 8, flip=shape[0] == 3),
    )
    return {kind(eps=eps): recipe for name, kind in THREATS.items() if name != "Linf" or eps <= 1}


def _arch(shape: tuple[int, int, int]) -> str:
    return ARCHS.get(shape, ANY_SIZE)


def load(own: OwnData, folder: Path) -> Splits:
    """The prepared images, mapped from the disk: they are read when they are used, and need not fit the memory.

    Raises:
        DataError: if they are not below the data folder, or others are in their place.
    """
    place = place_of(folder, own.name, own.sha256)
    if not (place / FACTS).exists():
        others = [path.parent.name for path in sorted(place.parent.glob(f"*/{FACTS}"))]
        there = f"only others of that name ({', '.join(others)}) are" if others else "they are not"
        resize = f" --resize {own.resize}" if own.resize else ""
        raise DataError(
            f"the images of {own.name} ({place.name}) are needed, and {there} in {folder}; "
            f"run `robench data PATH{resize}{elsewhere(folder)}` on what they came from"
        )
    if facts_at(place)["sha256"] != own.sha256:
        raise DataError(f"{place} holds other images than {own.name}'s; move it away and run `robench data PATH`")
    return Splits(*(_split(place, name, own, getattr(own, name)) for name in PARTS))


def verified(name: str, sha256: str, folder: Path) -> Splits | str:
    """The prepared images that a plan knows by ``sha256``, read once to see that they are; or why they are not here.

    Raises:
        DataError: if what lies in their place is not what was prepared.
    """
    place = place_of(folder, name, sha256)
    if not (place / FACTS).exists():
        return f"the images of {name} ({sha256[:16]}) are not in {folder}: `robench data PATH{elsewhere(folder)}`"
    facts, own = facts_at(place), own_data(facts_at(place))
    assert own is not None
    found = load(own, folder)
    digest = hashlib.sha256(json.dumps([facts["format"], facts["shape"], facts["class_names"]]).encode())
    for part in found:
        for each in part:
            digest.update(each.numpy().data)
    if (now := digest.hexdigest()) != sha256:
        raise DataError(f"{place} holds other images: their SHA-256 is {now[:12]}, not {sha256[:12]}; bring them back")
    return found


def _split(place: Path, name: str, own: OwnData, count: int) -> Split:
    images, labels = _mapped(place / f"{name}.images.npy"), _mapped(place / f"{name}.labels.npy")
    if images.shape != (count, *own.shape) or labels.shape != (count,):
        raise DataError(f"{place / name}.*.npy are not what {FACTS} says; move {place} away and prepare it again")
    return Split(images, labels)


def _mapped(path: Path) -> Tensor:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as fault:
        where = path.parent
        raise DataError(f"{path} cannot be read ({fault}); move {where} away and prepare it again") from None
    with warnings.catch_warnings():  # nobody writes to it; mapped for writing, large ones would be refused
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(values)
