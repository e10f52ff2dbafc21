"""train and bench: the commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console

from robench_fire.cli import options as o
from robench_fire.errors import RobenchError

if TYPE_CHECKING:
    from robench_fire.compose import Request


def train(
    defense: Annotated[str, typer.Argument(help="A name that `robench ls` lists, or the path of your own .py file.")],
    dataset: Annotated[str, typer.Argument(help="digits, mnist, cifar10 or cifar100.")],
    seeds: o.Seeds = "5",
    profile: o.Profile = o.ProfileName.matched,
    norm: o.NormOption = o.Norm.Linf,
    arch: o.Arch = "",
    epochs: o.Epochs = "",
    batch_size: o.BatchSize = "",
    lr: o.Lr = "",
    eps: o.Eps = "",
    set_: o.Set = None,
    extra_data: o.ExtraData = None,
    attack: o.Attack = "pgd20,aa",
    examples: o.Examples = None,
    eval_seed: o.EvalSeed = 0,
    eval_batch: o.EvalBatch = 500,
    no_eval: o.NoEval = False,
    device: o.Device = "auto",
    jobs: o.Jobs = 0,
    output: o.Output = Path("runs"),
    data_dir: o.Data = None,
) -> None:
    """Train a defense over its seeds, evaluate each, and print the row. The same command again resumes."""
    asked = request(defense, dataset, norm, profile, eps, arch, epochs, batch_size, lr, set_, extra_data)
    evaluations = _Wanted("" if no_eval else attack, examples, eval_seed, eval_batch)
    _run([asked], seeds, evaluations, device, jobs, output, data_dir)


def bench(
    dataset: Annotated[str, typer.Argument(help="digits, mnist, cifar10 or cifar100.")],
    defenses: Annotated[str, typer.Option(help="Comma-separated names or files. [default: all]")] = "",
    seeds: o.Seeds = "5",
    profile: o.Profile = o.ProfileName.matched,
    norm: o.NormOption = o.Norm.Linf,
    arch: o.Arch = "",
    epochs: o.Epochs = "",
    batch_size: o.BatchSize = "",
    lr: o.Lr = "",
    eps: o.Eps = "",
    set_: o.Set = None,
    extra_data: o.ExtraData = None,
    attack: o.Attack = "pgd20,aa",
    examples: o.Examples = None,
    eval_seed: o.EvalSeed = 0,
    eval_batch: o.EvalBatch = 500,
    no_eval: o.NoEval = False,
    device: o.Device = "auto",
    jobs: o.Jobs = 0,
    output: o.Output = Path("runs"),
    data_dir: o.Data = None,
) -> None:
    """Train and evaluate every defense on a data set over its seeds, and print the table."""
    from robench_fire import registry

    chosen = [name.strip() for name in defenses.split(",") if name.strip()] or list(registry.names("defenses"))
    asked = [
        request(defense, dataset, norm, profile, eps, arch, epochs, batch_size, lr, set_, extra_data)
        for defense in chosen
    ]
    evaluations = _Wanted("" if no_eval else attack, examples, eval_seed, eval_batch)
    _run(asked, seeds, evaluations, device, jobs, output, data_dir)


def request(
    defense: str, dataset: str, norm: o.Norm, profile: o.ProfileName, eps: str, arch: str, epochs: str, batch_size: str,
    lr: str, sets: list[str] | None, extra_data: Path | None,
) -> Request:  # fmt: skip
    from robench_fire.compose import Request

    return Request(
        defense=defense, dataset=dataset, norm=norm.value, profile=profile.value, eps=eps, arch=arch,
        epochs=o.epochs(epochs), settings=o.settings(batch_size, lr, sets), extra_data=extra_data,
    )  # fmt: skip


class _Wanted(NamedTuple):
    """The evaluation options of train and bench, before torch is imported."""

    attack: str
    examples: int | None
    seed: int
    batch_size: int


def _run(
    requests: list[Request],
    seeds: str,
    wanted: _Wanted,
    device: str,
    jobs: int,
    output: Path,
    data_dir: Path | None,
) -> None:
    numbers, attacks = o.seeds(seeds), o.attacks(wanted.attack, o.TABLED) if wanted.attack else ()
    from robench_fire.assessor import Evaluations
    from robench_fire.bench import bench as run
    from robench_fire.devices import resolve
    from robench_fire.display import listening, say
    from robench_fire.entries import of_row
    from robench_fire.fetch import data_folder
    from robench_fire.seed import Workplace
    from robench_fire.tables import render

    place = Workplace(output=output, data=data_dir or data_folder(), device=str(resolve(device)))
    evaluations = Evaluations(attacks=attacks, examples=wanted.examples, seed=wanted.seed, batch_size=wanted.batch_size)
    rows, failed = run(requests, numbers, evaluations, place, jobs, listening, say)
    if rows:
        render.show([of_row(row) for row in rows], "terminal", Console())
    elif not failed:
        say(f"trained, not evaluated; the weights lie under {output}")
    if failed:
        name, fault = next(iter(failed.items()))
        raise _counted(fault, f"{len(failed)} of {len(requests) * len(numbers)} runs failed; {name}: {fault}")


def _counted(fault: RobenchError, text: str) -> RobenchError:
    return type(fault)(text)
