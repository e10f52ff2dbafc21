"""demo and init: the whole way in a quarter of a minute, and a file to begin with."""

from __future__ import annotations

import shlex
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from robench_fire.cli.common import options as o
from robench_fire.errors import UsageError


def demo(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the run and the picture.")] = Path(
        "robench-demo"
    ),
    device: o.Device = "auto",
) -> None:
    """The whole way in a quarter of a minute: train one defense, attack it, see its row and what broke it.

    On the 8 x 8 digits that come with scikit-learn, in few epochs, from one seed, on 100 test images.
    """
    runs = f"{output}/runs"
    for words in (
        [*f"train fire digits --seeds 1 --profile short --examples 100 --device {device} -o".split(), runs],
        ["plot", "gallery", runs, "-o", f"{output}/broken.png", "--force"],
    ):
        print(f"$ robench {shlex.join(words)}", file=sys.stderr, flush=True)
        root = ctx.find_root()
        root.command.main(words, prog_name=root.info_name, standalone_mode=False)
    print("One seed, trained briefly: an example, not a result. docs/start.md goes on from here.", file=sys.stderr)


def init(
    file: Annotated[Path, typer.Argument(help="The file to write, like mydefense.py.")],
) -> None:
    """Write a commented file for a defense of your own, ready to train: TRADES, until you change it."""
    from robench_fire.files import write_text
    from robench_fire.problem import registry

    name = registry.canonical(file.stem)
    if file.suffix != ".py" or not name.isidentifier():
        raise UsageError(
            f"{file}: a defense is named by a .py file of letters, digits and underscores, like mydefense.py"
        )
    if name in registry.names("defenses"):
        raise UsageError(f"{file}: {name} is a bundled defense, and rows are told apart by their names; choose another")
    if file.exists():
        raise UsageError(f"{file} is there already; choose another name, or move it away")
    text = files("robench_fire.cli").joinpath("templates/defense.py.txt").read_text(encoding="utf-8")
    write_text(file, text.replace("NAME", file.stem))
    path = file if file.is_absolute() else f"./{file}"
    print(f"{file} is written; it trains as it is:")
    print(f"  robench show {path} digits\n  robench train {path} digits --seeds 1")
