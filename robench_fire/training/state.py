"""The state of a training between two steps: what is saved, restored, and evaluated."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, LambdaLR, LRScheduler, MultiStepLR
from torch.utils._pytree import tree_map

from robench_fire.devices.process_group import ProcessGroup
from robench_fire.errors import RecipeError
from robench_fire.models.stacked import Stacked
from robench_fire.problem.recipe import Adam, Cosine, Cyclic, OneCycle, Recipe, Sgd
from robench_fire.training import saving


class Part(NamedTuple):
    """What one process has of an epoch under way.

    Per seed the ``sums`` of its share of the losses' means, and ``bad``, the first step that was not finite; the states
    of torch's own generators, which dropout draws from: the CPU's, and the GPU's where there is one.
    """

    sums: dict[str, Tensor]
    bad: Tensor
    random: list[Tensor]


@dataclass
class UnderWay:
    """An epoch after ``done`` of its steps.

    ``rate``: the highest learning rate; ``seconds``: of the steps, warm-up apart. As they were last noted: ``streams``,
    of each seed the states of its Streams, and the ``parts`` of all processes.
    """

    done: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    streams: list[list[Tensor]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    def of(self, number: int) -> dict[str, Any] | None:
        """What the file of seed ``number`` says; None between two epochs."""
        if not self.done:
            return None
        seconds = self.seconds / len(self.streams)
        parts = [
            {"sums": {name: value[number].clone() for name, value in each.sums.items()},
             "bad": each.bad[number].clone(), "random": each.random}
            for each in self.parts
        ]  # fmt: skip
        return {"done": self.done, "rate": self.rate, "seconds": seconds, "streams": self.streams[number],
                "parts": parts}  # fmt: skip

    def part(self, group: ProcessGroup, device: torch.device) -> Part:
        """This process's; where there were more or fewer processes, the first one has all sums and the others none."""
        if len(self.parts) == group.size:
            sums, bad, random = self.parts[group.rank]
        else:
            share = 1 if group.first else 0
            sums = {name: share * torch.stack([each.sums[name] for each in self.parts]).sum(0)
                    for name in self.parts[0].sums}  # fmt: skip
            bad, random = torch.stack([each.bad for each in self.parts]).amin(0), []
        return Part({name: value.to(device) for name, value in sums.items()}, bad.to(device), random)


def _under_way(plain: Sequence[dict[str, Any] | None]) -> UnderWay:
    """From what the files of all seeds say, which have got equally far."""
    own = [each for each in plain if each is not None]
    if not own:
        return UnderWay()
    first, by_process = own[0], zip(*(each["parts"] for each in own), strict=True)
    parts = [
        Part(
            {name: torch.stack([each["sums"][name] for each in seeds]) for name in seeds[0]["sums"]},
            torch.stack([each["bad"] for each in seeds]),
            seeds[0]["random"],
        )
        for seeds in by_process
    ]
    seconds = sum(each["seconds"] for each in own)
    return UnderWay(first["done"], first["rate"], seconds, [each["streams"] for each in own], parts)


@dataclass
class SeedState:
    """What one seed has for itself: its targets' memory, its curve, the weights of the epoch it would keep.

    ``kept``: (batch size, C, H, W), the perturbations that its last updates left, where the recipe replays.
    """

    seed: int
    memory: dict[str, Tensor]
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    kept: Tensor | None = None


@dataclass
class State:
    """Everything that a later step depends on; ``write`` and ``restore`` round-trip all of it, seed by seed.

    Every stream of random numbers begins anew with each epoch; where it is within one is in ``epoch``. With several
    seeds ``model`` is Stacked, and each seed's file is what its seed alone would have written.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: LRScheduler
    average: nn.Module | None  # its averaged model is ``average.module``
    scaler: torch.amp.GradScaler
    seeds: list[SeedState]
    seconds: dict[str, float] = field(default_factory=dict)
    warm_up_images: int = 0
    epoch: UnderWay = field(default_factory=UnderWay)

    def write(self, number: int, path: Path) -> None:
        """Save seed ``number`` atomically."""
        one, own = self.seeds[number], self._sliced(number)
        plain = {
            "model": _state_of(self.model, number),
            "optimiser": own(self.optimiser.state_dict()),
            "schedule": self.schedule.state_dict(),
            "average": _state_of(_averaged(self.average), number) if self.average else None,
            "scaler": self.scaler.state_dict(),
            "memory": one.memory,
            "curve": one.curve,
            "best": one.best,
            **({} if one.kept is None else {"kept": one.kept}),
            "seconds": self.share(),
            "warm_up_images": self.warm_up_images,
            "epoch": self.epoch.of(number),
        }
        saving.write(path, plain)

    def restore(self, plain: Sequence[dict[str, Any]]) -> None:
        """Continue from what ``saving.read`` returned for each seed."""
        first = plain[0]
        _load(self.model, [each["model"] for each in plain])
        self.optimiser.load_state_dict(self._joined([each["optimiser"] for each in plain]))
        for parameter, own in self.optimiser.state.items():  # a fused kernel walks memory: lay it out as the weights
            for name, value in own.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    own[name] = torch.empty_like(parameter).copy_(value)
        self.schedule.load_state_dict(first["schedule"])
        if self.average:
            _load(_averaged(self.average), [each["average"] for each in plain])
        if first["scaler"]:
            self.scaler.load_state_dict(first["scaler"])
        for one, each in zip(self.seeds, plain, strict=True):
            one.memory = {name: value.to(one.memory[name].device) for name, value in each["memory"].items()}
            one.curve, one.best = each["curve"], each["best"]
            if one.kept is not None:
                one.kept.copy_(each["kept"])
        self.seconds = {name: sum(each["seconds"][name] for each in plain) for name in first["seconds"]}
        self.warm_up_images = first["warm_up_images"]
        self.epoch = _under_way([each.get("epoch") for each in plain])

    def took(self, seconds: dict[str, float]) -> None:
        """Add to the seconds of each section."""
        for name, value in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value

    def share(self) -> dict[str, float]:
        """The seconds that each seed is charged."""
        return {name: value / len(self.seeds) for name, value in self.seconds.items()}

    def evaluated(self) -> nn.Module:
        """The model whose accuracy counts: the moving average where there is one."""
        return _averaged(self.average) if self.average else self.model

    def weights(self, number: int, plain: bool = False) -> dict[str, Tensor]:
        """A copy of seed ``number`` of the evaluated model; ``plain``: of the one that is trained."""
        model = self.model if plain else self.evaluated()
        return {name: value.clone() for name, value in _state_of(model, number).items()}

    def _sliced(self, number: int) -> Callable[[Any], Any]:
        if not isinstance(self.model, Stacked):
            return lambda tree: tree
        return lambda tree: tree_map(lambda x: x[number].clone() if isinstance(x, Tensor) and x.dim() else x, tree)

    def _joined(self, trees: list[Any]) -> Any:
        if not isinstance(self.model, Stacked):
            return trees[0]
        return tree_map(lambda *x: torch.stack(x) if isinstance(x[0], Tensor) and x[0].dim() else x[0], *trees)


def _state_of(model: nn.Module, number: int) -> dict[str, Tensor]:
    return model.state_of(number) if isinstance(model, Stacked) else model.state_dict()


def _load(model: nn.Module, states: list[dict[str, Tensor]]) -> None:
    if isinstance(model, Stacked):
        model.load_states(states)
    else:
        model.load_state_dict(states[0])


def _averaged(average: nn.Module) -> nn.Module:
    inner: nn.Module = average.module  # type: ignore[assignment]  # timm's ModelEmaV3
    return inner


def fresh(
    model: nn.Module, recipe: Recipe, seeds: list[SeedState], scaler: torch.amp.GradScaler, updates: int
) -> State:
    """The state before the first epoch, with the recipe's optimiser, schedule and moving average around ``model``.

    ``updates``: how many the whole training makes.

    Raises:
        RecipeError: for a cyclic rate over a single update, which would be made at rate 0.
    """
    optimiser = _optimiser(model, recipe)
    if scaler.is_enabled() and isinstance(recipe.optimiser, Sgd):
        # torch's fused SGD makes a buffer at the first step and leaves it unwritten if the scaler skips that step
        for parameter in model.parameters():
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    average = _moving_average(model, recipe.ema_decay) if recipe.ema_decay else None
    return State(model, optimiser, _schedule(optimiser, recipe, updates), average, scaler, seeds)


def _schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, updates: int) -> LRScheduler:
    chosen = recipe.schedule
    if isinstance(chosen, Cosine):
        return CosineAnnealingLR(optimiser, recipe.epochs)
    if isinstance(chosen, Cyclic):
        if updates < 2:
            raise RecipeError("a cyclic rate needs two updates: raise --epochs, or lower --batch-size")
        up = max(round(chosen.peak * updates), 1)
        down = max(updates - up, 1)
        return CyclicLR(optimiser, 0.0, recipe.optimiser.lr, up, down, cycle_momentum=False)
    if isinstance(chosen, OneCycle):
        return LambdaLR(optimiser, _one_cycle(chosen, updates if chosen.per_update else recipe.epochs))
    # torch counts epochs from 0, the papers from 1
    drops = {max(math.ceil(share * recipe.epochs - 1e-9) - 1, 1) for share in chosen.at}
    return MultiStepLR(optimiser, sorted(drops), chosen.factor)


def _one_cycle(shape: OneCycle, steps: int) -> Callable[[int], float]:
    """The part of the highest rate at each of ``steps`` steps; torch's OneCycleLR divides by zero where few are."""
    top, last = max(shape.peak * steps - 1, 0.0), steps - 1
    first, final = 1 / shape.div, 1 / (shape.div * shape.final_div)

    def part(at: int) -> float:
        if at < top:
            return _half_cosine(first, 1.0, at / top)
        return _half_cosine(1.0, final, min((at - top) / (last - top), 1.0) if last > top else 0.0)

    return part


def _half_cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


def _moving_average(model: nn.Module, decay: float) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit deprecations inside timm's own imports
        from timm.utils import ModelEmaV3  # here, because importing timm takes a second
    average: nn.Module = ModelEmaV3(model, decay=decay)
    return average


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Fused: one kernel for all weights, and no wait for the device where fp16's scaler decides whether to step."""
    chosen = recipe.optimiser
    if isinstance(chosen, Adam):
        return torch.optim.Adam(model.parameters(), lr=chosen.lr, fused=True)
    single = 2 if isinstance(model, Stacked) else 1  # dimensions of a bias
    spared = [p for p in model.parameters() if chosen.decay_only_weights and p.dim() == single]
    decayed = [p for p in model.parameters() if not (chosen.decay_only_weights and p.dim() == single)]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=chosen.lr,
        momentum=chosen.momentum,
        nesterov=chosen.nesterov,
        weight_decay=chosen.weight_decay,
        fused=True,
    )
