"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from robench_fire import stopping
from robench_fire.errors import RecipeError, UsageError, unknown
from robench_fire.quantity import seconds as seconds_of


class ProfileName(str, Enum):
    """matched: one protocol for all. short: it, in 3/10 of the epochs. official: each method as released."""

    matched = "matched"
    short = "short"
    official = "official"


class LauncherName(str, Enum):
    """local: processes on this machine. ray: the machines that Ray joins."""

    local = "local"
    ray = "ray"


class Norm(str, Enum):
    """RobustBench's names."""

    Linf = "Linf"
    L2 = "L2"


Defense = Annotated[str, typer.Argument(help="A name that `robench ls` lists, or the path of your own .py file.")]
Dataset = Annotated[
    str,
    typer.Argument(
        help="digits, mnist, cifar10 or cifar100; or images of your own (docs/own-data.md): a folder (./FOLDER), "
        "FILE.npz, FILE.py:FUNCTION, hf:NAME."
    ),
]
Resize = Annotated[int | None, typer.Option(metavar="N", help="Bring images of your own to N x N pixels.")]
Channels = Annotated[
    int | None, typer.Option(metavar="1|3", min=1, max=3, help="Bring images of your own to grey (1) or colour (3).")
]
Seeds = Annotated[
    str, typer.Option(help="How many seeds (5 means 0 to 4), a list (0,3) or a range (2-4). (default: 5)")
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, max=10**18, help="This one seed, as for a task of a job array.")
]
Profile = Annotated[
    ProfileName, typer.Option(help="matched: one protocol for all; short: in fewer epochs; official: as released.")
]
NormOption = Annotated[Norm, typer.Option("--norm", help="Norm of the threat model.")]
Arch = Annotated[
    str, typer.Option(help="Architecture, see `robench ls archs`, or your own FILE.py:NAME. (default: the recipe's)")
]
Epochs = Annotated[str, typer.Option(help="Epochs of the shared schedule; drops scale with them.")]
BatchSize = Annotated[str, typer.Option("--batch-size", "-b", help="Training batch.")]
Lr = Annotated[str, typer.Option("--lr", help="Learning rate.")]
Precision = Annotated[str, typer.Option(help="Format of products: auto, fp32, tf32, bf16, fp16 (docs/performance.md).")]
AttackPrecision = Annotated[str, typer.Option(help="For the attack; auto: as --precision, but for its first step.")]
Compile = Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile. (default: on one GPU)")]
Eps = Annotated[str, typer.Option(help="Radius of the threat model, like 8/255 or 0.031.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Any value of `robench show`, like defense.lam=6; repeatable."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=0, help="Runs at a time; 0: as many as this machine can use.")]
Together = Annotated[bool, typer.Option("--together", help="Train a plan's seeds side by side, in --jobs groups.")]
Launcher = Annotated[LauncherName, typer.Option(help="local: this machine; ray: those that Ray joins.")]
Address = Annotated[str, typer.Option(help="With --launcher ray: HOST:PORT of its cluster. (default: this machine)")]
Slots = Annotated[int | None, typer.Option(min=1, help="With --launcher ray: CPU cores of a run. (default: 1)")]
Output = Annotated[Path, typer.Option("--output", "-o", envvar="ROBENCH_RUNS", help="Folder for run folders.")]
Data = Annotated[
    Path | None, typer.Option("--data-dir", envvar="ROBENCH_DATA", help="Data folder. (default: the user's cache)")
]
ExtraData = Annotated[
    Path | None,
    typer.Option(help="Pseudo-labelled images: npz (image, label) or pickle (data, extrapolated_targets)."),
]
HideLabels = Annotated[
    bool, typer.Option("--hide-labels", help="Hide half of the labels and pseudo-label those images (RST's protocol).")
]
Start = Annotated[
    str, typer.Option(metavar="FILE|RUN", help="Weights to begin from, of a file or of a run's same seed.")
]
Teacher = Annotated[
    str, typer.Option(metavar="FILE|RUN", help="The network whose logits the loss reads, for a defense that does.")
]
Examples = Annotated[int | None, typer.Option(min=1, max=10**9, help="Only the first N test images. (default: all)")]
Attack = Annotated[
    str, typer.Option(help="Evaluations, comma-separated: pgd20, aa (AutoAttack standard), fgsm, pgd20-cw, square.")
]
EvalSeed = Annotated[int, typer.Option(min=0, max=10**18, help="Seed of the evaluation's attacks.")]
EvalBatch = Annotated[int, typer.Option("--eval-batch", min=1, help="Test images attacked at a time.")]
Shuffled = Annotated[
    bool, typer.Option("--shuffled", help="The images in a random order, as `compare --until` takes them.")
]
NoEval = Annotated[bool, typer.Option("--no-eval", help="Train only.")]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="ROW,ROW", help="Rows by defense, method, label or plan; comma-separated or repeated."),
]
Where = Annotated[
    list[str] | None, typer.Option(metavar="PATH=VALUE", help="Rows with this setting, like defense.lam=6; repeatable.")
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=FILES",
        help="Evaluated checkpoints as a row, like mine='ckpt/*.pt': several are mean ± std; repeatable.",
    ),
]
Log = Annotated[
    str,
    typer.Option(metavar="csv,tensorboard,wandb", help="Where else losses, accuracies, images go; comma-separated."),
]
Stream = Annotated[
    bool | None,
    typer.Option("--stream/--no-stream", help="Copy batches of images to the device. (default: if they do not fit)"),
]
Figure = Annotated[
    Path | None, typer.Option("--output", "-o", help="PNG, SVG or PDF by suffix, without one PNG and SVG; CSV beside.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


USUALLY = "5m"  # training.saving.EVERY, which loads torch
SaveEvery = Annotated[
    str, typer.Option(metavar="TIME", help="Save a training's state this often, beside its epochs' ends: 5m, 90s.")
]
TimeLimit = Annotated[
    str,
    typer.Option(metavar="TIME", help="Stop after 7:59:00, 8h or 9m, resumably, with exit code 75. (default: none)"),
]


def duration(flag: str, text: str) -> float:
    """The seconds of a text.

    Raises:
        UsageError: if it is no duration.
    """
    try:
        return seconds_of(text)
    except ValueError as fault:
        raise UsageError(f"{flag} {fault}") from None


def limited(text: str) -> None:
    """Let this command stop after a time, if one is given.

    Raises:
        UsageError: for one that is no duration, or nothing.
    """
    if text:
        if not (limit := duration("--time-limit", text)):
            raise UsageError("--time-limit 0: nothing can be done in no time; leave it out for none")
        stopping.after(limit)


def listed(asked: list[str] | None) -> list[str]:
    """The parts of texts that are separated by commas."""
    return [part.strip() for text in asked or [] for part in text.split(",") if part.strip()]


MOST_SEEDS = 10_000


def seeds(text: str, one: int | None = None) -> list[int]:
    """``5`` is 0..4, ``0,3`` is those two, ``2-4`` is 2, 3, 4; ``one`` is of --seed, just this.

    Raises:
        UsageError: for anything else, or both.
    """
    if one is not None:
        if text:
            raise UsageError(f"--seed {one} is that seed, --seeds {text} says how many or which; give one of them")
        return [one]
    text = text.replace(" ", "") or "5"
    if re.fullmatch(r"\d{1,18}", text) and 0 < int(text) <= MOST_SEEDS:
        return list(range(int(text)))
    found: list[int] = []
    if re.fullmatch(r"\d{1,18}(-\d{1,18})?(,\d{1,18}(-\d{1,18})?)*", text) and ("," in text or "-" in text):
        for part in text.split(","):
            first, _, last = part.partition("-")
            found += range(int(first), min(int(last or first), int(first) + MOST_SEEDS) + 1)
    if not 0 < len(found) <= MOST_SEEDS:
        raise UsageError(
            f"--seeds {text[:40]}: expected a number of seeds (5), a list (0,3) or a range (2-4), at most "
            f"{MOST_SEEDS:,} seeds; one seed is --seed K"
        )
    return sorted(set(found))


def launched(launcher: LauncherName, address: str, slots: int | None, together: bool) -> tuple[str, int] | None:
    """(address, cores of a run) of a cluster; None for this machine.

    Raises:
        UsageError: for an option that does not go with the launcher.
    """
    if launcher is LauncherName.ray:
        if together:
            raise UsageError("--together trains seeds in one process, --launcher ray each by itself; leave one out")
        return address, slots or 1
    for flag, value in (("--address", address), ("--slots", slots)):
        if value:
            raise UsageError(f"{flag} {value} needs --launcher ray; add it, or leave {flag} out")
    return None


def attacks(text: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    """The evaluations among ``choices`` that a comma-separated text names, in their order.

    Raises:
        UsageError: for an unknown one.
    """
    asked = tuple(part for part in text.replace(" ", "").lower().split(",") if part)
    for each in asked:
        if each not in choices:
            raise UsageError(unknown("attack", each, choices))
    if not asked:
        raise UsageError(f"--attack is empty: choose from {', '.join(choices)}, or --no-eval")
    return tuple(each for each in choices if each in asked)


def shard(text: str) -> tuple[int, int] | None:
    """(i, n) of ``i/n``, counted from 1; None where nothing is given.

    Raises:
        UsageError: for anything else.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.replace(" ", ""))
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text[:40]}: expected i/n with i from 1 to n, like 2/4")
    return int(match[1]), int(match[2])


def radii(text: str) -> tuple[str, ...]:
    """The radii of a comma-separated text, each once."""
    return tuple(dict.fromkeys(part for part in text.replace(" ", "").split(",") if part))


def epochs(text: str) -> int | None:
    """The number of epochs, or None where none is given.

    Raises:
        RecipeError: if it is not a positive integer.
    """
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise RecipeError(f"--epochs {text[:40]}: expected an integer of at least 1")
    return int(text)


def settings(
    batch_size: str, lr: str, precision: str, attack_precision: str, sets: list[str] | None
) -> tuple[tuple[str, str, str], ...]:
    """(flag, path, text) of every override, in the order in which they apply.

    Raises:
        UsageError: for a --set without an equals sign.
    """
    named = (
        ("--batch-size", "recipe.batch_size", batch_size),
        ("--lr", "recipe.optimiser.lr", lr),
        ("--precision", "recipe.precision", precision),
        ("--attack-precision", "recipe.attack_precision", attack_precision),
    )
    found = [each for each in named if each[2]]
    for each in sets or []:
        path, equals, text = each.partition("=")
        if not equals or not path:
            raise UsageError(f"--set {each}: expected PATH=VALUE, like defense.lam=6")
        found.append(("--set", path.strip(), text.strip()))
    return tuple(found)
