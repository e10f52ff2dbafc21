"""The commands: arguments to calls, results to text.

Imports: statistics, problem, devices, data, models, runs, costs, evaluation, boards, comparison, tables, figures,
reports, verification, launching, submission.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from typing import Annotated, NoReturn

import typer

from robench_fire import __version__, stopping
from robench_fire.cli import attack, listing, measure, prepare
from robench_fire.cli.common.grouping import grouped
from robench_fire.cli.corruptions import corruptions
from robench_fire.cli.profile import profile
from robench_fire.cli.results.compare import compare
from robench_fire.cli.results.pages import report, site
from robench_fire.cli.results.plot import plot
from robench_fire.cli.results.table import table
from robench_fire.cli.results.theory import theory
from robench_fire.cli.results.verdicts import claims, reproduce
from robench_fire.cli.results.verify import verify
from robench_fire.cli.starting import demo, init
from robench_fire.cli.submit import submit
from robench_fire.cli.sweep import sweep
from robench_fire.devices import torchrun
from robench_fire.errors import printable, shortened, unexpected

app = typer.Typer(
    name="robench",
    help="Train adversarial defenses on one backend over five seeds, attack them with AutoAttack, and tabulate.",
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, list[Callable[..., None]]] = {
    "To begin with": [demo, init],
    "Train and attack": [grouped(measure.train), grouped(measure.bench), grouped(sweep), grouped(attack.evaluate),
                         grouped(corruptions), attack.transfer, grouped(attack.features)],
    "What came out": [grouped(table), compare, reproduce, claims, verify, plot, report, site, theory, grouped(submit)],
    "What there is": [listing.ls, grouped(listing.show), grouped(profile), listing.rm, prepare.data, prepare.doctor],
}  # fmt: skip
"""By their heading in the help."""
for heading, commands in COMMANDS.items():
    for command in commands:
        name = {"evaluate": "eval"}.get(command.__name__, command.__name__)
        app.command(name=name, rich_help_panel=heading)(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"robench_fire {__version__}")
        raise typer.Exit


INTERRUPTED = "interrupted; what was done is kept, the same command continues"
KEEPING = ("train", "bench", "sweep", "eval", "corruptions", "transfer", "data")
"""Commands that keep what they finished; others begin again."""


@app.callback()
def options(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Robustness benchmarking for adversarial-training defenses."""
    if debug:
        os.environ["ROBENCH_DEBUG"] = "1"
    torchrun.refuse(ctx.invoked_subcommand or "")


def main() -> None:
    """Run the command line; errors that a user can act on become one or two lines and an exit code."""
    stopping.listen()
    try:
        _run()
    finally:
        stopping.over()


def _run() -> None:
    try:
        with nullcontext() if torchrun.first() else _silence():
            app(_debug_first(sys.argv[1:]))
    except stopping.InVain as stopped:
        _leave(str(stopped), stopped.exit_code)
    except stopping.Stopped as stopped:
        _leave(_interrupted(), stopped.exit_code)
    except Exception as fault:  # also a defect of ours, or a model's own
        if signum := stopping.asked():  # what a library made of a signal, or of another process that ended
            _leave(_interrupted(), stopping.exit_code(signum))
        if os.environ.get("ROBENCH_DEBUG"):
            raise
        said = unexpected(fault)
        _leave(str(said), said.exit_code)


def _interrupted() -> str:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return INTERRUPTED if command in KEEPING else "interrupted"


def _debug_first(words: list[str]) -> list[str]:
    """The command line with --debug, which every command takes, where typer looks for it."""
    given = words[: words.index("--")] if "--" in words else words
    if "--debug" not in given:
        return words
    return ["--debug", *(word for word in given if word != "--debug"), *words[len(given) :]]


@contextmanager
def _silence() -> Iterator[None]:
    """Whatever it is that speaks in the body, another process has said it."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _leave(text: str, code: int) -> NoReturn:
    """Say why this ends, if no other process of this training does."""
    stopping.over()
    with torchrun.last_word() as mine:
        if mine:
            print(f"robench: {shortened(printable(text))}", file=sys.stderr, flush=True)
    sys.exit(code)
