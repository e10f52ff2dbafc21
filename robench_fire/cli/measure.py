"""train, bench and eval: the commands that compute."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console

from robench_fire.cli import options as o
from robench_fire.errors import RobenchError, UsageError

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
    numbers, attacks = o.seeds(seeds), o.attacks(wanted.attack) if wanted.attack else ()
    from robench_fire import tables
    from robench_fire.bench import bench as run
    from robench_fire.devices import resolve
    from robench_fire.display import listening, say
    from robench_fire.fetch import data_folder
    from robench_fire.seed import Workplace
    from robench_fire.subjects import Evaluations

    place = Workplace(output=output, data=data_dir or data_folder(), device=str(resolve(device)))
    evaluations = Evaluations(attacks=attacks, examples=wanted.examples, seed=wanted.seed, batch_size=wanted.batch_size)
    rows, failed = run(requests, numbers, evaluations, place, jobs, listening, say)
    if rows:
        tables.show(rows, "terminal", False, Console())
    elif not failed:
        say(f"trained, not evaluated; the weights lie under {output}")
    if failed:
        name, fault = next(iter(failed.items()))
        raise _counted(fault, f"{len(failed)} of {len(requests) * len(numbers)} runs failed; {name}: {fault}")


def _counted(fault: RobenchError, text: str) -> RobenchError:
    return type(fault)(text)


def evaluate(
    subject: Annotated[Path, typer.Argument(help="A run folder (one seed, or all of a plan's), or a checkpoint file.")],
    dataset: Annotated[str, typer.Option(help="For a checkpoint file: its data set.")] = "",
    arch: Annotated[str, typer.Option(help="For a checkpoint file: its architecture, see `robench ls archs`.")] = "",
    attack: o.Attack = "pgd20,aa",
    norm: Annotated[str, typer.Option(help="Linf or L2. [default: the run's]")] = "",
    eps: o.Eps = "",
    examples: o.Examples = None,
    seed: o.EvalSeed = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Test images attacked at a time.")] = 500,
    device: o.Device = "auto",
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Evaluate weights: clean accuracy, PGD-20 and AutoAttack standard; masks are stored beside them."""
    if norm not in ("", "Linf", "L2"):
        raise UsageError(f"--norm {norm}: choose Linf or L2")
    attacks = o.attacks(attack)
    from robench_fire.devices import resolve
    from robench_fire.display import listening
    from robench_fire.fetch import data_folder
    from robench_fire.subjects import Evaluations, assess, subjects

    evaluations = Evaluations(
        attacks=attacks, examples=examples, seed=seed, batch_size=batch_size, norm=norm, eps=eps
    )  # fmt: skip
    found = subjects(subject, dataset, arch)
    facts = assess(found, evaluations, data_dir or data_folder(), resolve(device), listening)
    if json:
        print(jsonlib.dumps({"format": 1, "evaluations": facts}, indent=2))
    else:
        Console().print(_evaluation_table(facts))


def _evaluation_table(facts: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    drawn = Table(pad_edge=False)
    for column in ("Weights", "Attack", "Threat", "Images", "Clean", "Robust", "Time"):
        drawn.add_column(column, justify="left" if column in ("Weights", "Attack", "Threat") else "right")
    for each in facts:
        drawn.add_row(
            each["weights"], each["attack"], f"{each['norm']} {each['eps']}", str(each["examples"]),
            f"{each['clean']:.2f}", f"{each['robust']:.2f}", f"{each['seconds']:.1f} s",
        )  # fmt: skip
    return drawn
