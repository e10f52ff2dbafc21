"""What test_world.py computes in one process and in two: functions of a ProcessGroup, importable by processes."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import needs
import torch
import torch.distributed as dist
from batch_norm_checks import activated, ghost, in_bf16, synchronised
from objective_checks import Double, objective, objective_refused
from torch import Tensor, nn

from robench_fire import stopping
from robench_fire.datasets import digits
from robench_fire.devices.process_group import Agreement, ProcessGroup
from robench_fire.errors import DataError, DivergedError, RecipeError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem import registry
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Augment, OneCycle, Recipe, Sgd
from robench_fire.problem.threat import Linf
from robench_fire.quantity import Quantity
from robench_fire.training import saving
from robench_fire.training.engine import prepared, train
from robench_fire.training.epoch import train_epoch
from robench_fire.training.setup import Problem

CPU = torch.device("cpu")
RECIPE = Recipe(
    arch="digits-cnn",
    attack=Pgd(steps=2, step=Quantity("0.1")),
    epochs=2,
    batch_size=64,
    optimiser=Sgd(lr=0.05),
    augment=Augment(pad=1, flip=True),
)
TRAININGS: dict[str, tuple[str, int, dict[str, Any]]] = {  # defense, images, departures from RECIPE
    "fire": ("fire", 251, {}),
    "fire, a last batch of one image": ("fire", 193, {"epochs": 1}),
    "trades, repeated pass": ("trades", 251, {"passes": ("clean", "adv", "clean")}),
    "madry, statistics move in the attack": ("madry", 251, {"attack_mode": "train"}),
    "trades, statistics move in the attack": ("trades", 251, {"attack_mode": "train"}),
    "mart, chosen by validation": ("mart", 251, {"select": "validation"}),
    "trades, moving average": ("trades", 251, {"ema_decay": 0.9}),
    "trades, the better copy": (
        "trades",
        251,
        {"ema_decay": 0.9, "ema_warm_up": True, "select": "copies", "schedule": OneCycle()},
    ),
    "fire, ghost batch norm": ("fire", 251, {"ghost_batch": 8}),
    "madry, ghost batch norm in the attack": ("madry", 193, {"ghost_batch": 16, "attack_mode": "train"}),
}


NEEDS = (
    "further image", "second attack", "features", "ramp", "coefficient of an example", "perturbed weights, late",
    "perturbed weights, all at once", "mixup", "cutmix", "mixup, smoothed labels", "teacher of both",
    "start", "random image", "corners", "memory of classes",
)  # fmt: skip
REFUSED = ("batch term", "slopes", "batch gain", "replays")


class Dropping(DigitsCNN):
    """Drops half of the images' features."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, self.training))


def problem(name: str, images: int, **changes: Any) -> Problem:
    full, defense = digits.DATASET.splits(Path()), registry.load("defenses", name).module.DEFENSE
    recipe = replace(RECIPE, **changes)
    return Problem(defense, Linf(eps=Quantity("0.2")), recipe, full.train.take(slice(images)), full.validation, 10)


def trained(
    group: ProcessGroup, given: Problem, build: Callable[[], nn.Module] = Double, **more: Any
) -> dict[str, Any]:
    found = train(build, given, seed=0, device=CPU, group=group, **more)
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in found.curve]
    return {"weights": found.weights, "curve": rows, "processes": found.arithmetic["processes"]}


def training(group: ProcessGroup, name: str) -> dict[str, Any]:
    defense, images, changes = TRAININGS[name]
    return trained(group, problem(defense, images, **changes))


def needed(group: ProcessGroup, name: str) -> dict[str, Any]:
    """Training that is given more; an odd number of images, so that parts of a batch differ."""
    return trained(group, needs.problem(name, 191, build=Double))


def refused(group: ProcessGroup, name: str) -> str:
    try:
        prepared(DigitsCNN, needs.problem(name), [0], CPU, False, group)
    except RecipeError as fault:
        return str(fault)
    return ""


def self_adaptive(group: ProcessGroup) -> dict[str, Tensor]:
    """The memory that two epochs leave, and the weights."""
    given = problem("fire_sa", 251)
    given = replace(given, defense=replace(given.defense, targets=replace(given.defense.targets, start=0.25)))
    state, setup = prepared(Double, given, [0], CPU, False, group)
    for epoch in (1, 2):
        train_epoch(state, setup, epoch, set(), lambda done, rate: None)
    return {**state.seeds[0].memory, **state.weights(0)}


class Interrupted(Exception):
    """Stands for a kill after an epoch."""


def cut(group: ProcessGroup, state_file: Path) -> None:
    """Ends after the first of two epochs, leaving ``state_file``."""

    def stop(curve: list[Any]) -> None:
        raise Interrupted

    try:
        trained(group, problem("fire", 251), state_file=state_file, epoch_done=stop)
    except Interrupted:
        return


def cut_within(group: ProcessGroup, state_file: Path) -> None:
    """Ends after the last step of an epoch of four; the processes agree to save before it."""

    def stop(done: int, total: int, note: str) -> None:
        if done == 8:
            raise Interrupted

    try:
        trained(group, problem("fire", 251), state_file=state_file, progress=stop, save_every=0)
    except Interrupted:
        return


def dropped_within(group: ProcessGroup, state_file: Path) -> dict[str, Any]:
    """Each process's dropout, from the middle of an epoch on."""

    def stop(done: int, total: int, note: str) -> None:
        if done == 4:
            raise Interrupted

    given = problem("madry", 251)
    with contextlib.suppress(Interrupted):
        trained(group, given, Dropping, state_file=state_file, progress=stop, save_every=0)
    kept = group.agreed(lambda: saving.reached(saving.read(state_file, CPU))[1])
    return trained(group, given, Dropping, state_file=state_file) | {
        "kept": kept,
        "whole": trained(group, given, Dropping),
    }


def resumed(group: ProcessGroup, state_file: Path) -> dict[str, Any]:
    return trained(group, problem("fire", 251), state_file=state_file)


def damaged(group: ProcessGroup, state_file: Path) -> str:
    try:
        trained(group, problem("fire", 251), state_file=state_file)
    except DataError as fault:
        return str(fault)
    return ""


def diverged(group: ProcessGroup) -> str:
    """One image, of one process's part, has no finite loss."""

    class Broken(DigitsCNN):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            self.calls += self.training and torch.is_grad_enabled()
            return logits * (torch.nan if self.calls == 6 and self.training and group.rank == group.size - 1 else 1)

    try:
        trained(group, problem("madry", 251), Broken)
    except DivergedError as fault:
        return str(fault)
    return ""


def dropped(group: ProcessGroup) -> dict[str, Any]:
    return trained(group, problem("madry", 64), Dropping)


def exchanged(group: ProcessGroup) -> dict[str, Any]:
    """Every method once."""
    whole = torch.arange(30.0).view(15, 2)
    said = ""
    try:
        group.agreed(lambda: refuse(group))
    except DataError as fault:
        said = str(fault)
    sized = replace(group, slice_size=4)
    return {
        "gathered": group.gathered(group.part(whole), 15),
        "gathered slices": sized.gathered(sized.part(whole), 15),
        "gathered one": group.gathered(group.part(whole[:1]), 1),
        "least": group.least(torch.tensor([group.rank, -group.rank])),
        "total": group.total(torch.tensor(group.rank + 1)),
        "agreed": group.agreed(lambda: group.rank),
        "said": said,
    }


def stopped(group: ProcessGroup, after: int) -> list[int]:
    """Before which step a group stops if its last process alone hears a signal ``after`` so many steps."""
    agreement = Agreement(group, CPU)
    try:
        for step in range(20):
            if step == after and group.rank == group.size - 1:
                stopping._noted.value = signal.SIGTERM
            agreement.check()
    except stopping.Stopped as fault:
        return [step, fault.exit_code]
    finally:
        stopping._noted.value = 0
    return []


def refuse(group: ProcessGroup) -> None:
    raise DataError(f"refused by {group.rank}")


def checks(folder: Path) -> dict[str, Callable[[ProcessGroup], Any]]:
    """By name; ``folder`` holds what one process left and what two leave."""
    made: dict[str, Callable[[ProcessGroup], Any]] = {}
    for name in TRAININGS:
        made[name] = lambda group, name=name: training(group, name)
    for name in NEEDS:
        made[name] = lambda group, name=name: needed(group, name)
    for name in REFUSED:
        made[name] = lambda group, name=name: refused(group, name)
    for rows in (1, 5, 8):
        made[f"synchronised {rows}"] = lambda group, rows=rows: synchronised(group, rows)
        made[f"ghost {rows}"] = lambda group, rows=rows: ghost(group, rows)
    made |= {
        "synchronised, mean of all": lambda group: synchronised(group, 6, None),
        "self-adaptive": self_adaptive,
        "cut": lambda group: cut(group, folder / f"cut-{group.size}.pt"),
        "resumed": lambda group: resumed(group, folder / f"cut-{3 - group.size}.pt"),
        "cut within": lambda group: cut_within(group, folder / f"within-{group.size}.pt"),
        "resumed within": lambda group: resumed(group, folder / f"within-{3 - group.size}.pt"),
        "dropped within": lambda group: dropped_within(group, folder / f"dropped-{group.size}.pt"),
        "damaged": lambda group: damaged(group, folder / "damaged.pt"),
        "diverged": diverged,
        "dropped": dropped,
        "activated": activated,
        "in bf16": in_bf16,
        "exchanged": exchanged,
        "objective": objective,
        "objective refused": objective_refused,
        "stopped": lambda group: stopped(group, 5),
        "stopped at once": lambda group: stopped(group, 0),
    }
    return made


def run(folder: Path, rank: int, size: int) -> None:
    """In a process of its own: all checks; what each finds, or its traceback."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", ".*torch.jit.*", FutureWarning)
        for name, check in checks(folder).items():
            try:
                found[name] = check(ProcessGroup(rank, size))
            except Exception:
                found[name] = traceback.format_exc()
                torch.save(found, folder / f"found-{rank}.pt")
                print(name, found[name], file=sys.stderr)
                sys.exit(1)  # the other process would wait
    torch.save(found, folder / f"found-{rank}.pt")
    dist.destroy_process_group()
