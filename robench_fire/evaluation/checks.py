"""What is checked of images and of a model before hours are spent on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch
from pyautoattack import checks as upstream
from torch import Tensor, nn

from robench_fire.errors import DataError
from robench_fire.evaluation.autoattack.attack_sets import Heard
from robench_fire.models import normalisation
from robench_fire.problem.pgd import Forward
from robench_fire.statistics.summary import more, percent


def images(x: Tensor) -> Tensor:
    """Images (N, C, H, W) if they are finite and in [0, 1] up to rounding (1e-6), clamped to it.

    Raises:
        DataError: otherwise, with the range found, or if there are none.
    """
    if not len(x):
        raise DataError("there are no images to evaluate on")
    low, high = x.min().item(), x.max().item()
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # also catches NaN
        raise DataError(
            f"images run from {low:.4g} to {high:.4g}; a threat model needs them in [0, 1], before normalisation"
        )
    return x if low >= 0 and high <= 1 else x.clamp(0, 1)


def logits(found: Any, images: int, num_classes: int) -> Tensor:
    """What a model returned for so many images, if it is a logit for each of them and each class.

    Raises:
        DataError: otherwise, saying what it is.
    """
    if not isinstance(found, Tensor):
        raise DataError(f"the model returns a {type(found).__name__}, not logits; wrap it so that it returns them only")
    if found.shape != (images, num_classes):
        raise DataError(
            f"the model returns {tuple(found.shape)} for {images} images; "
            f"logits for {num_classes} classes were expected for each"
        )
    return found


def finite(found: Tensor) -> Tensor:
    """Logits, if every one is finite.

    Raises:
        DataError: otherwise.
    """
    if not found.isfinite().all():
        raise DataError("the model's logits are not finite; the checkpoint is broken or of another architecture")
    return found


def flags(forward: Forward, x: Tensor, label: Tensor) -> list[str]:
    """AutoAttack's checks of a model's outputs on a batch: randomised, probabilities instead of logits."""
    randomised, probabilities = Heard(), Heard()
    with torch.no_grad():
        upstream.check_randomized(forward, x, label, bs=len(label), logger=randomised)
        upstream.check_range_output(forward, x, logger=probabilities)
    return ["randomised"] * bool(randomised) + ["probabilities instead of logits"] * bool(probabilities)


def are_probabilities(found: Tensor) -> bool:
    """Whether logits are none but probabilities, by AutoAttack's check."""
    heard = Heard()
    upstream.check_range_output(lambda _: found, found, logger=heard)
    return bool(heard)


def dynamic(model: nn.Module, x: Tensor) -> bool:
    """Whether the model computes gradients when asked for logits.

    Upstream counts calls by name in counters that outlive the model and replaces the interpreter's trace function;
    here the count is of torch's own two functions, of this call alone, and what was there is put back.
    """
    with _calls({torch.autograd.grad.__code__, torch.autograd.backward.__code__}) as called, torch.enable_grad():
        model(x)
    return called()


@contextmanager
def _calls(wanted: set[Any]) -> Iterator[Callable[[], bool]]:
    """Whether one of the ``wanted`` code objects ran in the body."""
    seen = False
    before = sys.getprofile()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal seen
        seen = seen or (event == "call" and frame.f_code in wanted)

    sys.setprofile(note)
    try:
        yield lambda: seen
    finally:
        sys.setprofile(before)


def _ways(given: str, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Callable[[Tensor], Tensor]]:
    """What could be done to images before a model that is ``given`` one normalisation, by the option that does it.

    The option "" means that the model's own normalisation is one too many.
    """
    channels = len(mean)
    usual = {"dataset": (mean, std), "0.5:0.5": ((0.5,) * channels, (0.5,) * channels)}
    if channels == 3:
        usual["0.485,0.456,0.406:0.229,0.224,0.225"] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's
    if given != "none":
        own = usual.get(given)
        if own is None and given != "image":
            own = normalisation.statistics(given, channels)
        return {"none": partial(_undone, *own)} if own else {}
    done: dict[str, Callable[[Tensor], Tensor]] = {"": partial(_undone, mean, std)}
    layers = {name: normalisation.Standardise(*each) for name, each in usual.items()}
    return done | layers | {"image": normalisation.StandardiseEachImage()}


def _undone(mean: tuple[float, ...], std: tuple[float, ...], x: Tensor) -> Tensor:
    centre, spread = (x.new_tensor(each).view(1, -1, 1, 1) for each in (mean, std))
    return x * spread + centre


def wrong_normalisation(
    forward: Forward, x: Tensor, label: Tensor, given: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """Refuse a model that clearly wants its images normalised otherwise than it gets them.

    ``given``: what it gets, see models.normalisation.layer; ``mean`` and ``std`` of the data set.

    Raises:
        DataError: if its clean accuracy is far higher so, naming the option. Nothing is chosen by that accuracy.
    """
    with torch.no_grad():
        own = forward(x).argmax(1) == label
        found = {
            option: forward(change.to(x.device)(x) if isinstance(change, nn.Module) else change(x)).argmax(1) == label
            for option, change in _ways(given, mean, std).items()
        }
    best = max(found, key=lambda name: percent(found[name]), default=given)
    if best == given or not _better(found[best], own):
        return
    alike = [name for name in found if not more(*_disagreement(found[best], found[name]))]
    option = "dataset" if "dataset" in alike else best
    was = f"clean accuracy is {percent(own):.1f} % with --normalise {given}, but {percent(found[option]):.1f} %"
    if not option:
        raise DataError(f"{was} with one normalisation undone: the model normalises its images twice; leave one out")
    rest = [f"{percent(found[name]):.1f} % with {name}" for name in alike if name not in ("", option)]
    also = f" (and {', '.join(rest)}, which these images cannot tell apart)" if rest else ""
    raise DataError(f"{was} with --normalise {option}{also}; say how its training script normalised images")


def _better(one: Tensor, other: Tensor) -> bool:
    """Whether ``one`` is far more often right than ``other``: by 20 points, and twice, or wrong a third as often.

    Half-trained models gain from more contrast too, so 20 points alone say little; few images say nothing.
    """
    good, poor = percent(one), percent(other)
    far = good > poor + 20 and (good > 2 * poor or 100 - good < (100 - poor) / 3)
    return far and more(*_disagreement(one, other))


def _disagreement(one: Tensor, other: Tensor) -> tuple[int, int]:
    """On how many images only ``one`` is right, and only ``other``."""
    return int((one & ~other).sum()), int((other & ~one).sum())
