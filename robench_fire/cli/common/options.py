"""Options that several commands share; common/reading.py reads their texts."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from robench_fire.cli.common import completion


class ProfileName(str, Enum):
    """The names of problem.plan.Profile, without loading torch."""

    matched = "matched"
    short = "short"
    modern = "modern"
    fastat = "fastat"
    official = "official"


class LauncherName(str, Enum):
    """local: processes on this machine. ray: the machines that Ray joins."""

    local = "local"
    ray = "ray"


class Norm(str, Enum):
    """RobustBench's names."""

    Linf = "Linf"
    L2 = "L2"


Defense = Annotated[
    str,
    typer.Argument(
        help="A name that `robench ls` lists, or the path of your own .py file.", autocompletion=completion.defenses
    ),
]
Dataset = Annotated[
    str,
    typer.Argument(
        help="digits, mnist, cifar10 or cifar100; or images of your own (docs/own-data.md): a folder (./FOLDER), "
        "FILE.npz, FILE.py:FUNCTION, hf:NAME.",
        autocompletion=completion.datasets,
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
    ProfileName,
    typer.Option(
        "--profile",
        "--recipe",
        help="matched: one protocol for all; short: in fewer epochs; modern: averaged weights, smoothed labels, one "
        "cycle; fastat: of Pan and Yao 2026; official: as released.",
    ),
]
NormOption = Annotated[Norm, typer.Option("--norm", help="Norm of the threat model.")]
Arch = Annotated[
    str,
    typer.Option(
        help="Architecture, see `robench ls archs`, or your own FILE.py:NAME. (default: the recipe's)",
        autocompletion=completion.archs,
    ),
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
Output = Annotated[
    Path, typer.Option("--output", "-o", envvar="ROBENCH_RUNS", readable=False, help="Folder for run folders.")
]
Data = Annotated[
    Path | None, typer.Option("--data-dir", envvar="ROBENCH_DATA", help="Data folder. (default: the user's cache)")
]
ExtraData = Annotated[
    Path | None,
    typer.Option(help="Further images: npz of a generator's (image, label), or pickle (data, extrapolated_targets)."),
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
Deterministic = Annotated[
    bool | None,
    typer.Option("--deterministic/--no-deterministic", help="The same weights, bit by bit. (default: on a CPU)"),
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
    typer.Option(metavar="TIME", help="Stop after 7:59:00, 2h30m or 9m, resumably, with exit code 75. (default: none)"),
]
