"""Reading weights into an architecture: which tensors of a file are the network's, decided by what fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from robench_fire.errors import DataError, unknown
from robench_fire.models import unpickling

AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow)($|[._])", re.IGNORECASE)
"""Names of averaged weights, which are taken only if they are asked for or stand alone."""
MOST_DICTS, DEEPEST = 100_000, 16  # in a checkpoint, and in one another
FIRST = re.compile(r"(^|.*\.)(mean|mu|std|sigma)$")
"""Buffers of a layer that normalises the images, in front of the network."""
Shapes = Mapping[str, torch.Size]


class MisfitError(DataError):
    """A file whose tensors are not those of the architecture."""


class Weights(NamedTuple):
    """The tensors of a network by its own names. ``key``: where in the file they were, "" for the file as a whole.

    ``others``: keys of other weights in the file that fit as well. ``mean`` and ``std``: of a layer in front of the
    network that normalises images in [0, 1], where the file has one. ``behind``: whether the network stood behind a
    layer without tensors in an ``nn.Sequential``. ``kinds``: in what else than float32 numbers are stored.
    """

    tensors: dict[str, Tensor]
    key: str = ""
    others: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    behind: bool = False
    kinds: tuple[str, ...] = ()


def load(path: Path, build: Callable[[], nn.Module], device: torch.device, key: str = "") -> nn.Module:
    """The model ``build`` makes, in eval mode on ``device``, with the weights in ``path``; see ``find``.

    Raises:
        DataError: as ``find``.
    """
    model = build()
    found = find(path, {name: value.shape for name, value in model.state_dict().items()}, key)
    model.load_state_dict(found.tensors, strict=False)  # a counter of batches may be missing
    return model.to(device).eval()


def find(path: Path, wanted: Shapes, key: str = "", free: str = "") -> Weights:
    """The weights in ``path`` that have every tensor of ``wanted``, whatever key or prefix they stand under.

    safetensors, or a torch file. Of several that fit, those at ``key``; else the first that are not averaged. The
    unused ``sub_block1`` of the TRADES family may be there, and counters of batches may be missing. ``free``: a layer
    whose tensors may have any shape, and are left out.

    Raises:
        MisfitError: if it holds nothing that fits, naming the first tensors.
        DataError: if the file is missing or unreadable, or there is no such key.
    """
    content = _read(path)
    groups = dict(_groups(path, content))
    fits = _all_fits(groups, wanted, free)
    if key and (fits := {name: each for name, each in fits.items() if f"{name}.".startswith(f"{key}.")}) == {}:
        raise DataError(f"{path}: {unknown('weights', key, [name for name in groups if name])}")
    if not fits:
        raise MisfitError(f"{path} {_misfit(content, groups, wanted)}")
    chosen = min(fits, key=lambda name: bool(AVERAGED.search(name)))
    own = fits[chosen].tensors
    others = tuple(name for name, each in fits.items() if name != chosen and not _same(each.tensors, own))
    return fits[chosen]._replace(key=chosen, others=others)


def fitting(path: Path, candidates: Mapping[str, Shapes]) -> list[str]:
    """The names of those candidates that the file has all tensors of.

    Raises:
        DataError: if the file cannot be read.
    """
    groups = dict(_groups(path, _read(path)))
    return [name for name, wanted in candidates.items() if _all_fits(groups, wanted)]


def _all_fits(groups: Mapping[str, Mapping[str, Tensor]], wanted: Shapes, free: str = "") -> dict[str, Weights]:
    return {key: each for group, tensors in groups.items() for key, each in _fits(group, tensors, wanted, free).items()}


def refuse_html(path: Path) -> None:
    """File hosts answer with a page where a file was asked for.

    Raises:
        DataError: if ``path`` holds one.
    """
    with open(path, "rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        raise DataError(f"{path} is an HTML page saved under this name; download the file itself again")


def _read(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint; give a run folder that `robench ls runs` lists, or a file")
    refuse_html(path)
    if path.suffix != ".safetensors":
        return unpickling.read(path)
    try:
        return load_file(path)
    except Exception as fault:  # whatever the reader raises on a broken file, it is unreadable
        raise unpickling.unreadable(path, fault) from None


def _groups(file: Path, content: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(key, tensors by name) of every dict in the file that holds tensors, outer ones first.

    A dict that lies in itself is passed over there.

    Raises:
        DataError: if there are more than a checkpoint has: one that lies in a file often costs it next to nothing.
    """
    met = 0

    def below(content: Any, path: tuple[str, ...], above: frozenset[int]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        nonlocal met
        if not isinstance(content, dict) or id(content) in above:
            return
        if (met := met + 1) > MOST_DICTS or len(path) > DEEPEST:
            raise DataError(f"{file} holds more than {MOST_DICTS:,} dicts, or more than {DEEPEST} one in another")
        named = {name: each for name, each in content.items() if isinstance(name, str) and isinstance(each, Tensor)}
        if named:
            yield ".".join(path), named
        for name, value in content.items():
            yield from below(value, (*path, str(name)), above | {id(content)})

    return below(content, (), frozenset())


def _fits(group: str, tensors: Mapping[str, Tensor], wanted: Shapes, free: str) -> dict[str, Weights]:
    """By key, the weights in a dict of tensors that fit, under each prefix of their names under which they do."""
    needed = [name for name in wanted if not _counter(name)]
    if not needed:
        return {}
    anchor = needed[0]
    prefixes = [name.removesuffix(anchor) for name in tensors if name == anchor or name.endswith(f".{anchor}")]
    found = {}
    for prefix in prefixes:
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        unknown_ = [name for name in own if name not in wanted and not _spare(name)]
        open_ = [name for name in needed if name.rpartition(".")[0] == free] if free else []
        if not unknown_ and all(
            name in own and own[name].shape == wanted[name] for name in needed if name not in open_
        ):
            rest = {name: value for name, value in tensors.items() if name.removeprefix(prefix) not in wanted}
            mean, std = (_statistics(rest, kind) for kind in (("mean", "mu"), ("std", "sigma")))
            behind = bool(re.search(r"(^|\.)1\.$", prefix)) and not mean
            known = {name: own[name] for name in wanted if name in own and name not in open_}
            key = ".".join(part for part in (group, prefix.removesuffix(".")) if part)
            stored = {each.dtype for each in known.values() if each.is_floating_point()} - {torch.float32}
            kinds = tuple(sorted(str(each).removeprefix("torch.") for each in stored))
            found[key] = Weights(known, mean=mean, std=std, behind=behind, kinds=kinds)
    return found


def _counter(name: str) -> bool:
    """Of batches that batch norm has seen, which no forward in eval mode reads."""
    return name.endswith("num_batches_tracked")


def _spare(name: str) -> bool:
    return name.startswith("sub_block1.") or bool(FIRST.fullmatch(name))


def _statistics(tensors: Mapping[str, Tensor], kinds: tuple[str, str]) -> tuple[float, ...]:
    """The values of the one buffer that is called so."""
    found = [value for name, value in tensors.items() if name.rpartition(".")[2] in kinds and value.numel() <= 4]
    if len(found) != 1:
        return ()
    return tuple(
        float(str(np.float32(value))) for value in found[0].flatten().tolist()
    )  # the shortest that is the same


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(name in other and torch.equal(value, other[name]) for name, value in one.items())


def _misfit(content: Any, groups: Mapping[str, Mapping[str, Tensor]], wanted: Shapes) -> str:
    """Why nothing fits: of the tensors that come nearest, the first that are missing, unknown or of another shape."""
    if not groups:
        keys = ", ".join(map(str, content))[:200] if isinstance(content, dict) else ""
        holds = f"its keys are {keys}" if keys else f"it is a {type(content).__name__}"
        return f"holds no tensors by name: {holds}; {unpickling.SAVE}"
    nearest = max(
        (_renamed(tensors, wanted) for tensors in groups.values()), key=lambda own: len(set(own) & set(wanted))
    )
    other = [
        f"{name} is {tuple(nearest[name].shape)}, not {tuple(shape)}"
        for name, shape in wanted.items() if name in nearest and nearest[name].shape != shape
    ]  # fmt: skip
    missing = [name for name in wanted if name not in nearest and not _counter(name)]
    extra = [f"{name} {tuple(nearest[name].shape)}" for name in nearest if name not in wanted and not _spare(name)]
    said = [_listed("", other), _listed("missing ", missing), _listed("unknown ", extra)]
    return f"does not fit the architecture: {'; '.join(each for each in said if each)}"


def _renamed(tensors: Mapping[str, Tensor], wanted: Shapes) -> dict[str, Tensor]:
    """Without the prefix under which most names are those of the architecture."""
    prefixes = {name[: len(name) - len(each)] for name in tensors for each in wanted if name.endswith(f".{each}")} | {
        ""
    }
    best = max(sorted(prefixes), key=lambda prefix: sum(name.startswith(prefix) and name.removeprefix(prefix) in wanted
                                                       for name in tensors))  # fmt: skip
    return {name.removeprefix(best): value for name, value in tensors.items() if name.startswith(best)}


def _listed(what: str, names: list[str]) -> str:
    """The first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what}{', '.join(names[:3])}{more}" if names else ""
